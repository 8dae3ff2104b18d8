"""Files of other machines that are looked at once in a piece of work: each look is a request to their storage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Fingerprint = tuple[str, int, str]


class _Work(threading.local):
    known: dict[str, Fingerprint] | None = None


_work = _Work()


@contextmanager
def one_look_per_file() -> Iterator[None]:
    """Keep the fingerprints of remote files while it lasts, in this thread: a planner, a stage and an assembly ask for the same
    file's a dozen times. Nested ones are part of the outermost. A file that `atomic_write` replaces is looked at again.
    """
    if _work.known is not None:
        yield
        return
    _work.known = {}
    try:
        yield
    finally:
        _work.known = None


def looked_at(url: str, look: Callable[[], Fingerprint]) -> Fingerprint:
    """Return what is known of a file, or look."""
    known = _work.known
    if known is None:
        return look()
    if url not in known:
        known[url] = look()
    return known[url]


def forget(url: str) -> None:
    """Look at a file again: it has been replaced."""
    if _work.known is not None:
        _work.known.pop(url, None)
