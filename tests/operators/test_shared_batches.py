"""Rows that are worked on at the same time: what shares a micro-batch, who fails, and that nobody waits for ever."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from operators.shared_batches import MOST_ROWS, SharedBatches, current_row, row_seconds

SIZE = 8


class Doubler:
    """Doubles numbers in micro-batches, and keeps what was in each."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def execute(self, batches: Iterable[list[np.ndarray]]) -> Iterator[np.ndarray]:
        for (numbers,) in batches:
            assert 0 < len(numbers) <= SIZE
            self.seen.append(numbers.tolist())
            if (numbers < 0).any():
                raise ValueError(f"{numbers[numbers < 0][0]} is negative")
            yield numbers * 2

    def ask(self, numbers: np.ndarray, kind: object = "double") -> np.ndarray:
        row = current_row()
        assert row is not None
        return row.ask(kind, self.execute, [numbers], SIZE)


def row_numbers(row: int, count: int = 7) -> np.ndarray:
    return np.arange(count) + 100 * row


def run(work, rows: int, frames: int = 1000, each: int = 10) -> list:  # type: ignore[no-untyped-def, type-arg]
    return list(SharedBatches(frames).map(work, [(row, each) for row in range(rows)]))


def test_rows_fill_each_others_micro_batches() -> None:
    double = Doubler()
    found = run(lambda row: double.ask(row_numbers(row)), 5)
    for row, numbers in enumerate(found):
        np.testing.assert_array_equal(numbers, 2 * row_numbers(row))
    # Alone, five rows of seven would take five micro-batches with an empty place each.
    assert [len(numbers) for numbers in double.seen] == [8, 8, 8, 8, 3]
    assert np.concatenate(double.seen).tolist() == [n for row in range(5) for n in row_numbers(row)]


def test_a_rest_waits_for_rows_that_are_less_far() -> None:
    """Two steps each, of different kinds, with more rows than work at the same time: one micro-batch of each kind is not full."""
    first, second = Doubler(), Doubler()
    counts = [5, 11, 3, 7, 7, 2, 9, 6, 4, 12, 5, 7]

    def work(row: int) -> np.ndarray:
        return second.ask(first.ask(row_numbers(row, counts[row]), "first"), "second")

    for row, numbers in enumerate(run(work, len(counts))):
        np.testing.assert_array_equal(numbers, 4 * row_numbers(row, counts[row]))
    for network in (first, second):
        assert len(network.seen) <= math.ceil(sum(counts) / SIZE) + 1
        assert sum(len(numbers) < SIZE for numbers in network.seen) <= 2
    assert sum(math.ceil(count / SIZE) for count in counts) == 15 > len(first.seen)


def test_what_is_computed_together_does_not_depend_on_who_is_faster() -> None:
    def micro_batches(slow: set[int]) -> list[list[int]]:
        double = Doubler()

        def work(row: int) -> None:
            for step in range(4):
                if row in slow:
                    time.sleep(0.003)
                double.ask(row_numbers(row, 1 + (row * 5 + step * 3) % 11), step % 2)

        run(work, 14, frames=60)
        return double.seen

    expected = micro_batches(set())
    for slow in ({0}, {3, 4}, {1, 7, 13}, set(range(0, 14, 2))):
        assert micro_batches(slow) == expected


def test_a_row_with_bad_items_fails_alone() -> None:
    double = Doubler()

    def work(row: int) -> object:
        try:
            return double.ask(-row_numbers(row) if row == 2 else row_numbers(row)).sum()
        except ValueError as error:
            return str(error)

    found = run(work, 5)
    assert found == [2 * row_numbers(row).sum() if row != 2 else "-200 is negative" for row in range(5)]
    # The second one has items of rows 1 and 2 and fails; what is left of all rows is computed row by row.
    assert [len(numbers) for numbers in double.seen] == [8, 8, 6, 7, 7, 7]


def test_rows_that_end_early_or_fail_keep_nobody_waiting() -> None:
    double = Doubler()

    def work(row: int) -> object:
        if row % 3 == 0:
            return row  # never asks
        total = 0
        for step in range(row):
            if row == 4 and step == 2:
                raise_here: list[int] = []
                try:
                    raise_here[0]
                except IndexError as error:
                    return repr(error)
            total += int(double.ask(row_numbers(row, step + 1)).sum())
        return total

    found = run(work, 9, frames=35)
    assert found[::3] == [0, 3, 6]
    assert found[4] == "IndexError('list index out of range')"
    assert found[5] == sum(2 * int(row_numbers(5, step + 1).sum()) for step in range(5))


def test_an_error_of_the_work_is_raised_and_the_others_are_given_up() -> None:
    double, before = Doubler(), threading.active_count()

    def work(row: int) -> int:
        if row == 1:
            raise KeyError("this one")
        return int(double.ask(row_numbers(row)).sum())

    results = SharedBatches(1000).map(work, [(row, 10) for row in range(6)])
    assert next(results) == 2 * row_numbers(0).sum()
    with pytest.raises(KeyError, match="this one"):
        next(results)
    assert threading.active_count() == before


def test_results_that_are_not_taken_leave_no_threads() -> None:
    double, before = Doubler(), threading.active_count()
    results = SharedBatches(1000).map(
        lambda row: double.ask(double.ask(row_numbers(row))), [(row, 10) for row in range(6)]
    )
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(("frames", "each", "most"), [(35, 10, 3), (5, 10, 1), (10_000, 1, MOST_ROWS)])
def test_no_more_rows_at_a_time_than_have_the_frames_of_a_long_one(frames: int, each: int, most: int) -> None:
    """Those whose results wait to be taken count."""
    lock, begun, taken, seen = threading.Lock(), itertools.count(1), 0, []

    def work(row: int) -> int:
        with lock:
            seen.append(next(begun) - taken)
        return row

    for row in SharedBatches(frames).map(work, [(row, each) for row in range(20)]):
        assert row == taken
        with lock:
            taken += 1
    assert max(seen) <= most


def test_a_rows_seconds_are_without_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves only while a micro-batch is computed."""
    now = [0.0]
    monkeypatch.setattr("operators.shared_batches.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def execute(batches: Iterable[list[np.ndarray]]) -> Iterator[np.ndarray]:
        for (numbers,) in batches:
            now[0] += 1
            yield numbers

    def work(row: int) -> float:
        start, asked = row_seconds(), current_row()
        assert asked is not None
        asked.ask("slow", execute, [np.zeros(36 if row else 4)], 10)
        return row_seconds() - start

    assert run(work, 2) == pytest.approx([0.4, 3.6])
