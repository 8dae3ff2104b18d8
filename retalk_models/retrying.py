"""Repetition of calls that may succeed later: the loop, the growing pauses, the HTTP answers that mean "not now".

Standard library only. Who calls says which failures pass and when to give up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

#: HTTP statuses that say "not now" (RFC 9110, RFC 6585, RFC 8470).
RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


def retry(call: Callable[[], T], failed: Callable[[Exception, int], None]) -> T:
    """Call until it succeeds.

    Args:
        call: may be made again after any failure.
        failed: is told of each failure and how many there were; it waits before the next try, or raises to end
            the tries.
    """
    for tries in itertools.count(1):
        try:
            return call()
        except Exception as problem:
            failed(problem, tries)
    raise AssertionError("unreachable")


def doubled(first: float, tries: int, longest: float) -> float:
    """Pause in seconds after the given number of failures (from 1): doubled each time, up to the longest."""
    return min(first * 2.0 ** min(tries - 1, 64), longest)
