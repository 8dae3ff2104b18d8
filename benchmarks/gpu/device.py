"""A device's clock, memory and description; the same calls on a GPU and on a CPU."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from retalk_models.inference.device_memory import MIB, peak_memory


def synchronise(device: torch.device) -> None:
    """Wait for all work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(
    call: Callable[[], Any], device: torch.device, least: float, most: int = 200
) -> tuple[float, int]:
    """Seconds of one call where one follows the other without waiting, and how many were measured; the caller warms up.

    Args:
        call: issues the work.
        device: it works on.
        least: seconds to measure, about; one call at least.
        most: calls.
    """
    synchronise(device)
    began = time.perf_counter()
    call()
    synchronise(device)
    first = time.perf_counter() - began
    count = min(most, int(least / max(first, 1e-6)))
    if count < 2:
        return first, 1
    began = time.perf_counter()
    for _ in range(count):
        call()
    synchronise(device)
    return (time.perf_counter() - began) / count, count


class Marks:
    """Moments on the device: seconds between them are known once it has been waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[tuple[str, Any]] = []
        self("start")

    def __call__(self, name: str) -> None:
        """Note that all that has been issued so far belongs to ``name`` or before."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds of each name; waits for the device."""
        synchronise(self.device)
        spent: dict[str, float] = {}
        for (_, start), (name, stop) in zip(self._marks, self._marks[1:]):
            seconds = start.elapsed_time(stop) / 1000 if self.device.type == "cuda" else stop - start
            spent[name] = spent.get(name, 0.0) + seconds
        return spent


def memory_figures(device: torch.device) -> dict[str, float]:
    """MiB on the GPU since `reset_peaks`, as figures; none on a CPU."""
    found = peak_memory(device)
    return (
        {} if found is None else {f"{name}_mib": round(value, 1) for name, value in found._asdict().items()}
    )


def describe(device: torch.device) -> dict[str, Any]:
    """The machine: what results of another one differ by."""
    about: dict[str, Any] = {
        "device": device.type,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": processor(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about |= {
            "gpu": properties.name,
            "gpu_mib": properties.total_memory // MIB,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return about


def processor() -> str:
    """Return the CPU's model."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class Utilisation:
    """Context manager: share of the time that nvidia-smi calls the GPU busy; None where there is no nvidia-smi."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.share: float | None = None
        self._process: subprocess.Popen[str] | None = None
        self._values: list[float] = []

    def __enter__(self) -> Utilisation:
        program = shutil.which("nvidia-smi")
        if self.device.type == "cuda" and program:
            command = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
            command += ["-i", str(self.device.index or 0)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._values.append(float(line) / 100)

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._thread.join(5)
            if self._values:
                self.share = round(sum(self._values) / len(self._values), 3)


@contextlib.contextmanager
def products(tf32: bool, tuned: bool = False) -> Iterator[None]:
    """TF32 products allowed or not, and cuDNN's search for the fastest kernel on or off."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic
    cudnn.allow_tf32 = matmul.allow_tf32 = tf32
    cudnn.benchmark, cudnn.deterministic = tuned, not tuned
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
