"""Threads: those of the numeric libraries and of encoders, and one more that decodes or encodes beside this process' computing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import threadpoolctl

Item = TypeVar("Item")
_END: Any = object()


def single_thread() -> None:
    """Let the libraries that have been imported compute with one thread in this process.

    Convolutions and matrix products round otherwise with two threads than with one: a result would depend on
    the profile. A pool uses as many cores as it has actors.
    """
    threadpoolctl.threadpool_limits(1)
    # Only where a stage has brought them in: importing torch costs seconds. OpenCV ignores OMP_NUM_THREADS.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


@contextlib.contextmanager
def no_realtime() -> Iterator[None]:
    """Give the threads of this process that become real-time ones in the block their usual scheduling back.

    SVT-AV1, where it may (as root, which containers are), gives its threads and the one that opens it the highest real-time priority
    (SCHED_FIFO), and every process that is started afterwards inherits that: one that computes then stops all else on its core, Ray's
    heartbeats too. Linux only: elsewhere nothing is done.
    """
    before = realtime_threads()
    try:
        yield
    finally:
        for thread in realtime_threads() - before:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def realtime_threads() -> set[int]:
    """Native ids of this process' threads whose scheduling is real-time."""
    found, tasks = set(), Path("/proc/self/task")
    for thread in map(int, os.listdir(tasks) if tasks.is_dir() else ()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                found.add(thread)
    return found


def ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Give the items of a generator, the next of which a thread computes meanwhile.

    Worth it where computing an item leaves Python's lock to others, as decoding does. The order, the items and the
    errors are the generator's; it is one item ahead, never more, and runs in one thread at a time.
    """
    with ThreadPoolExecutor(1) as pool:
        following: Future[Item] = pool.submit(next, items, _END)
        try:
            while (item := following.result()) is not _END:
                following = pool.submit(next, items, _END)
                yield item
        finally:
            pool.shutdown(wait=True)
            items.close()


class Behind:
    """Calls made one after the other by a thread, while the caller prepares the next one.

    A call begins when the one before has ended. Used as a context manager: at the end of the block all calls have
    been made. What a call raises is raised by the `do` after it or at the end of the block.
    """

    def __init__(self) -> None:
        self._pool, self._last = ThreadPoolExecutor(1), Future[Any]()
        self._last.set_result(None)

    def do(self, call: Callable[..., Any], *args: Any) -> None:
        """Make a call as soon as the one before has ended; returns then."""
        self._last.result()
        self._last = self._pool.submit(call, *args)

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self._last.result()
