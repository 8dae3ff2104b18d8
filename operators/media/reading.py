"""Notes of which media file this process is reading, for the day that a library's native code ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Files that are open, and who is told of them; the last of each counts.
_open: list[str] = []
_listeners: list[Callable[[str], None]] = []


@contextmanager
def reads_told_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell of each media file before a library reads it; when it is closed, of the one that is read on.

    Args:
        tell: called with the file's URL, "" where none is open any more. It must have passed on what it is
            told when it returns, for the process may end right after.
    """
    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.remove(tell)


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Note that a file is being read."""
    _open.append(url)
    try:
        _told(url)
        yield
    finally:
        _open.remove(url)
        _told(_open[-1] if _open else "")


def _told(url: str) -> None:
    if _listeners:
        _listeners[-1](url)
