"""Allocator settings: memory of large arrays is kept between calls of the networks, and given back after a run."""

from __future__ import annotations

import ctypes
import functools
import logging

import numpy as np

#: Parameters of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
NEVER = 2**31 - 1
#: Just below the most that glibc learns from, bytes.
LEARNT = 31 << 20


@functools.cache
def disable_malloc_trim() -> bool:
    """Keep freed memory in this process for its next large array; once per process, glibc only.

    By default glibc asks the system for every large array and returns it when it is freed; the system fills
    each page with zeros again. Networks on a CPU do that hundreds of times a picture: a fifth to a third of
    their time. Afterwards a process stays as large as it once was, no larger.

    Returns:
        True where it was done; False where the C library is another one, which costs time and nothing else.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # One arena: others are limited to 64 MiB and would ask the system all the same.
    done = mallopt is not None and all(
        mallopt(*pair) for pair in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_ARENA_MAX, 1))
    )
    if not done:
        logging.getLogger(__name__).info("this C library has no mallopt: networks on the CPU run slower")
    return done


def keep_freed_memory() -> None:
    """Have glibc keep freed memory of up to 62 MiB for the next allocation: enough for the face networks, in processes that shall
    become small again (`disable_malloc_trim` keeps all).

    A pass allocates and frees some megabytes for each activation. By default glibc returns them to the system and gets them back as
    empty pages, 1500 of them in a pass over two pictures: a quarter of its time. glibc raises its limits when it frees a
    large block (mallopt(3), M_MMAP_THRESHOLD), so one is made and freed. Other C libraries are not affected.
    """
    np.empty(LEARNT, np.uint8)


def trim_heaps() -> None:
    """Give the system back what has been freed in the heaps of all threads; nothing happens with other C libraries than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
