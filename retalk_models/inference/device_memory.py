"""Memory that this process has taken of a GPU. Imports torch only."""

from __future__ import annotations

from typing import NamedTuple

import torch

MIB = 1 << 20


class DeviceMemory(NamedTuple):
    """MiB of a GPU.

    Attributes:
        tensors: most that tensors had at once.
        reserved: most that torch's allocator had.
        context: what is taken beside it, by all processes on this GPU: CUDA's context and libraries.
    """

    tensors: float
    reserved: float
    context: float

    @property
    def process(self) -> float:
        """All that this process needs, if it is alone on its GPU."""
        return self.reserved + self.context


def reset_peaks(device: torch.device) -> None:
    """Give back what is cached, and begin anew with the most; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> DeviceMemory | None:
    """Memory since `reset_peaks`; None where this process uses no GPU."""
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return None
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(
        torch.cuda.max_memory_allocated(device) / MIB,
        torch.cuda.max_memory_reserved(device) / MIB,
        max(0, total - free - torch.cuda.memory_reserved(device)) / MIB,
    )
