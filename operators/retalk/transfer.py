"""Tensors to a device and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Transfer:
    """Copies between the machine's memory and a GPU's, beside its computing; on a CPU nothing is copied.

    Pictures travel as they are stored, mostly 8-bit, through pinned memory and on a stream of their own:
    while a micro-batch is computed the next one is packed and sent. Conversions run on the device. Not run on
    a GPU yet.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def there(self, parts: list[Tensor]) -> list[Tensor]:
        """Tensors on the device."""
        if self.stream is None:
            return parts
        with torch.cuda.stream(self.stream):
            sent = [part.pin_memory().to(self.device, non_blocking=True) for part in parts]
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        for tensor in sent:
            tensor.record_stream(computing)
        return sent

    def back(self, result: Tensor) -> Callable[[], Tensor]:
        """Send a result back; what is returned waits for it."""
        if self.stream is None:
            return lambda: result
        arrived = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
        arrived.copy_(result, non_blocking=True)
        there = torch.cuda.Event()
        there.record(torch.cuda.current_stream(self.device))

        def wait() -> Tensor:
            there.synchronize()
            return arrived

        return wait
