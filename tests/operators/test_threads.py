"""One thread beside the caller's: the same items, calls and errors in the same order, and nothing left running."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator

import pytest

from operators.threads import Behind, ahead, no_realtime, realtime_threads

WAIT = 60.0


def test_items_come_in_order_and_one_ahead() -> None:
    made: list[int] = []
    third = threading.Event()

    def numbers() -> Generator[int, None, None]:
        for number in range(5):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    items = ahead(numbers())
    assert next(items) == 0
    assert next(items) == 1  # and the thread makes the third meanwhile
    assert third.wait(WAIT)
    assert max(made) == 2
    assert list(items) == [2, 3, 4]


def test_errors_of_the_generator_come_where_they_belong() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise ValueError("frame 1 is damaged")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="frame 1 is damaged"):
        next(items)


def test_closing_early_closes_the_generator_and_ends_the_thread() -> None:
    closed, before = [], threading.active_count()

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = ahead(endless())
    next(items)
    items.close()
    assert closed == [True]
    assert threading.active_count() == before


def test_calls_are_made_in_order_beside_the_caller() -> None:
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(WAIT)
        done.append(0)

    with Behind() as behind:
        behind.do(first)
        assert begun.wait(WAIT)  # it runs while this goes on
        assert done == []
        go_on.set()
        for number in range(1, 4):
            behind.do(done.append, number)
    assert done == [0, 1, 2, 3]


def fail() -> None:
    raise OSError("disk full")


def failing_block(calls: int, error: Exception | None = None) -> None:
    with Behind() as behind:
        behind.do(fail)
        for _ in range(calls):
            behind.do(print)
        if error is not None:
            raise error


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(OSError, match="disk full"):
        failing_block(0)
    with pytest.raises(OSError, match="disk full"):
        failing_block(1)
    # An error of the block is not hidden by one of a call.
    with pytest.raises(ValueError, match="mine"):
        failing_block(0, ValueError("mine"))


def test_threads_that_become_realtime_ones_do_not_stay_so() -> None:
    ended, thread = threading.Event(), threading.get_native_id()
    other = threading.Thread(target=ended.wait)
    if not hasattr(os, "sched_setscheduler"):
        pytest.skip("this system has no schedulers to choose")
    before = realtime_threads()
    try:
        with no_realtime():
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            except PermissionError:
                pytest.skip("this user may have no real-time threads")
            other.start()  # inherits it
            assert realtime_threads() - before == {thread, other.native_id}
        assert realtime_threads() == before
    finally:
        ended.set()
