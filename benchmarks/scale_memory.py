"""Memory and CPU time of processes, for `benchmarks/scale.py`."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TypeVar

from benchmarks.drills.processes import command_of, descendants

MIB = 1 << 20
Looking = TypeVar("Looking", bound="Sampler")


def private_memory(pid: int) -> float:
    """Resident bytes of a process that are not shared memory, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    fields = {
        name: float(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if value.endswith("kB")
    }
    return fields.get("RssAnon", 0) + fields.get("RssFile", 0)


def ray_workers(ancestor: int) -> list[int]:
    """Processes of Ray's actors below a process."""
    return [pid for pid in descendants(ancestor) if command_of(pid).startswith("ray::")]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, in seconds; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Sampler:
    """Context manager: a thread that looks at something again and again while it lasts; subclasses say at what.

    Args:
        pause: seconds between two looks.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self: Looking) -> Looking:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._pause):
            self.look()

    def look(self) -> None:
        """Look once."""
        raise NotImplementedError
