"""Batches through a device with upload, computing and download beside each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from operators.retalk.tensor_chain import Batch

Compute = Callable[[Batch], Tensor]


class DoubleBuffer:
    """Run batches of one shape: while one is computed the next is on its way up and the one before on its way down.

    On a GPU each of `SLOTS` slots has pinned memory on the host and a batch on the device, which are used again and
    again; on a CPU the batches are computed one after the other.

    Args:
        compute: draws into a batch on the device and returns its frames; it must not wait for the device.
        device: torch device.
        graph: capture the computation of each slot in a CUDA graph.
    """

    SLOTS = 3

    def __init__(self, compute: Compute, device: torch.device, graph: bool = False) -> None:
        self.compute, self.device, self.graph = compute, device, graph
        self.busy: list[tuple[Any, Any]] = []
        self._slots: list[_Slot] = []
        self._pool: Any = None

    def run(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Frames of each batch on the host, in order; a tensor is good until the next one is asked for.

        Args:
            batches: on the host, all of one shape.
        """
        if self.device.type != "cuda":
            for batch in batches:
                yield self.compute(batch.mapped(torch.clone))
            return
        upload, download = (torch.cuda.Stream(self.device) for _ in range(2))
        computing = torch.cuda.current_stream(self.device)
        waiting: deque[_Slot] = deque()
        for number, batch in enumerate(batches):
            if len(self._slots) < self.SLOTS:
                if self.graph and self._pool is None:
                    # Replays follow each other on one stream: they may share their memory.
                    self._pool = torch.cuda.graph_pool_handle()
                self._slots.append(_Slot(batch, self.device, self.compute, self._pool))
                torch.cuda.synchronize(self.device)
            slot = self._slots[number % self.SLOTS]
            if len(waiting) == self.SLOTS:
                yield waiting.popleft().result()
            for name, pinned in slot.sent.tensors().items():
                pinned.copy_(getattr(batch, name))
            with torch.cuda.stream(upload):
                for name, there in slot.batch.tensors().items():
                    there.copy_(getattr(slot.sent, name), non_blocking=True)
                uploaded = torch.cuda.Event()
                uploaded.record()
            computing.wait_event(uploaded)
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            slot.step()
            stop.record()
            self.busy.append((start, stop))
            with torch.cuda.stream(download):
                download.wait_event(stop)
                slot.arrived.copy_(slot.batch.frames, non_blocking=True)
                slot.downloaded.record()
            waiting.append(slot)
        while waiting:
            yield waiting.popleft().result()

    def busy_seconds(self) -> float:
        """Seconds between the first and the last kernel of each batch so far, added up; waits for the device."""
        if not self.busy:
            return 0.0
        torch.cuda.synchronize(self.device)
        return sum(start.elapsed_time(stop) for start, stop in self.busy) / 1000


class _Slot:
    """Memory of one batch under way.

    Its tensors on the device are written to by the upload only once its result was fetched, and so after its
    computation.
    """

    def __init__(self, like: Batch, device: torch.device, compute: Compute, pool: Any) -> None:
        self.sent = like.mapped(lambda x: x.clone().pin_memory())
        self.batch = self.sent.mapped(lambda x: x.to(device))
        self.arrived = torch.empty_like(like.frames).pin_memory()
        self.downloaded = torch.cuda.Event()
        self.step: Callable[[], Any] = lambda: compute(self.batch)
        self._held: Any = None
        if pool is not None:
            side = torch.cuda.Stream(device)
            side.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(side):
                for _ in range(2):  # kernels are chosen and workspaces taken before the capture
                    self.step()
            torch.cuda.current_stream(device).wait_stream(side)
            self._held = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._held, pool=pool):
                self.step()
            self.step = self._held.replay

    def result(self) -> Tensor:
        """Frames on the host, once they are there."""
        self.downloaded.synchronize()
        return self.arrived
