"""Threads: those of the numeric libraries, and one more that decodes or encodes beside this process' computing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
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
