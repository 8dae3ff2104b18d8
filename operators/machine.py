"""The machine that a process runs on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Files with the most bytes of memory that this container may use ("max": no limit): cgroups of version 2, and of version 1.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container where that may use less; 0 where the system does not tell."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    for limit in LIMITS:
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(limit.read_text()))
    return memory
