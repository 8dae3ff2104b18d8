"""Micro-batches that several rows share.

Each row is worked on by a thread. What a thread asks of a network waits until no row can go on without an answer; then
micro-batches are computed that are full, whoever's items are in them, by the thread that takes the rows' results. Which
items are computed together depends on the rows and their order alone, never on which thread is faster.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Micro-batches in, their results in the same order out. A micro-batch is an array of items for each argument.
Execute = Callable[[Iterable[list[np.ndarray]]], Iterator[np.ndarray]]

#: Rows that are worked on at the same time, at most.
MOST_ROWS = 8


class Stopped(BaseException):
    """Ends a row's thread: nobody wants its result any more."""


class _Call:
    """Items that a row asks a network about; the first `given` have been answered."""

    def __init__(
        self, row: _Row[Any], kind: Hashable, execute: Execute, arrays: Sequence[np.ndarray], size: int
    ):
        shapes = tuple((array.dtype.str, array.shape[1:]) for array in arrays)
        self.row, self.execute, self.arrays, self.size = row, execute, arrays, size
        #: Calls of one kind are answered together.
        self.kind = (kind, size, shapes)
        self.given, self.parts, self.seconds = 0, list[np.ndarray](), 0.0
        self.error: BaseException | None = None
        self.ended = threading.Event()

    @property
    def left(self) -> int:
        """Items without an answer."""
        return len(self.arrays[0]) - self.given

    def fail(self, error: BaseException) -> None:
        """Let the row's thread raise an error."""
        self.error = error
        self.ended.set()


class _Piece(NamedTuple):
    """Items [start, stop) of a call in a micro-batch."""

    call: _Call
    start: int
    stop: int


class _Row(Generic[Result]):
    """A row that is worked on. `call`, `ended` are read and written under the lock of its `SharedBatches`."""

    def __init__(self, shared: SharedBatches, frames: int) -> None:
        self.shared, self.frames = shared, frames
        self.call: _Call | None = None
        self.ended = False
        self.result: Result
        self.error: BaseException | None = None
        #: Seconds that it has waited for others.
        self.waited = 0.0

    def begin(self, work: Callable[[Item], Result], item: Item) -> None:
        """Work on an item in a thread. A process that ends does not wait for it."""
        self.thread = threading.Thread(target=self._run, args=(work, item), daemon=True)
        self.thread.start()

    def _run(self, work: Callable[[Item], Result], item: Item) -> None:
        _current.row = self
        try:
            self.result = work(item)
        except BaseException as error:  # raised again where the result is taken
            self.error = error
        with self.shared.changed:
            self.ended = True
            self.shared.changed.notify()

    def taken(self) -> Result:
        """Return the result, or raise what the row's work raised."""
        self.thread.join()
        if self.error is not None:
            raise self.error
        return self.result

    def ask(self, kind: Hashable, execute: Execute, arrays: Sequence[np.ndarray], size: int) -> np.ndarray:
        """Answers to items, computed beside those of other rows.

        Args:
            kind: what calls have in common whose items may be computed together; their ``execute`` do the same.
            execute: computes micro-batches.
            arrays: for each argument its items, one or more.
            size: items of a micro-batch.

        Raises:
            Exception: whatever the computation of these items raises.
        """
        start = time.perf_counter()
        call = _Call(self, kind, execute, arrays, size)
        self.shared.take(call)
        call.ended.wait()
        self.waited += time.perf_counter() - start - call.seconds
        if call.error is not None:
            raise call.error
        return np.concatenate(call.parts)


class _Current(threading.local):
    row: _Row[Any] | None = None


_current = _Current()


def current_row() -> _Row[Any] | None:
    """Return the row that this thread works on, None where rows are worked on one after the other."""
    return _current.row


def row_seconds() -> float:
    """Return a clock of this thread's row: without what it has waited for others, with its share, by items, of the
    micro-batches that it has had items in.
    """
    row = _current.row
    return time.perf_counter() - (row.waited if row is not None else 0.0)


class SharedBatches:
    """Works on several rows at the same time.

    Rows begin in order, as many as have no more frames together than a long one alone, `MOST_ROWS` at most. What a
    row holds until its result has been taken counts: the memory is that of one long row.

    Args:
        frames: of all rows that are worked on or whose results wait to be taken; a longer row is alone.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        #: Notified when a row's `call` or `ended` changes.
        self.changed = threading.Condition()
        self._stopped = False

    def map(self, work: Callable[[Item], Result], rows: Iterable[tuple[Item, int]]) -> Iterator[Result]:
        """Results of ``work`` in the order of the rows.

        Args:
            work: called in a thread for each row. What it asks by `current_row().ask` is answered here, in the
                thread that takes the results.
            rows: each with its frames.

        Raises:
            BaseException: whatever ``work`` raises; the rows behind it are given up.
        """
        coming = iter(rows)
        following = next(coming, None)
        begun: deque[_Row[Result]] = deque()
        try:
            while following is not None or begun:
                while following is not None and self._fits(begun, following[1]):
                    row: _Row[Result] = _Row(self, following[1])
                    row.begin(work, following[0])
                    begun.append(row)
                    following = next(coming, None)
                with self.changed:
                    self.changed.wait_for(
                        lambda: begun[0].ended or all(row.ended or row.call is not None for row in begun)
                    )
                    ended, calls = begun[0].ended, [row.call for row in begun if row.call is not None]
                if ended:
                    yield begun.popleft().taken()
                else:
                    self._answer(calls)
        finally:
            self._stop(begun)

    def take(self, call: _Call) -> None:
        """Note what a row asks."""
        with self.changed:
            if self._stopped:
                raise Stopped
            call.row.call = call
            self.changed.notify()

    def _fits(self, begun: Sequence[_Row[Any]], frames: int) -> bool:
        together = sum(row.frames for row in begun) + frames
        return not begun or (len(begun) < MOST_ROWS and together <= self.frames)

    def _stop(self, begun: Iterable[_Row[Any]]) -> None:
        """Give up rows; they are not being answered."""
        with self.changed:
            self._stopped = True
            for row in begun:
                if row.call is not None:
                    row.call.fail(Stopped())
        for row in begun:
            row.thread.join()

    def _answer(self, calls: Sequence[_Call]) -> None:
        """Answer some of the calls: as far as they fill micro-batches, or else the kind of the last row, which is the
        least far: the others may be joined by it later.
        """
        kinds: dict[Hashable, list[_Call]] = {}
        for call in calls:
            kinds.setdefault(call.kind, []).append(call)
        full = [batches for same in kinds.values() if (batches := micro_batches(same, full=True))]
        for batches in full or [micro_batches(kinds[calls[-1].kind], full=False)]:
            self._compute(batches)

    def _compute(self, batches: Sequence[Sequence[_Piece]]) -> None:
        """Compute micro-batches of one kind. Where that fails, each call is computed alone: only that fail whose own
        items do.
        """
        calls = list(dict.fromkeys(piece.call for pieces in batches for piece in pieces))
        try:
            self._execute(batches)
        except Exception as error:
            if len(calls) == 1 and calls[0].left:
                self._release(calls[0], error)
        else:
            return
        # The error is forgotten here, and with it what its traceback held on the device.
        for call in calls:
            if len(calls) > 1 and call.left:
                self._alone(call)

    def _alone(self, call: _Call) -> None:
        """Compute what is left of a call, or let its row fail."""
        try:
            self._execute(micro_batches([call], full=False))
        except Exception as error:
            self._release(call, error)

    def _execute(self, batches: Sequence[Sequence[_Piece]]) -> None:
        """Compute micro-batches and deal out their results; a row goes on as soon as it has all of its own."""
        arguments = range(len(batches[0][0].call.arrays))
        arrays = (
            [np.concatenate([p.call.arrays[k][p.start : p.stop] for p in pieces]) for k in arguments]
            for pieces in batches
        )
        start = time.perf_counter()
        for pieces, result in zip(batches, batches[0][0].call.execute(arrays), strict=True):
            seconds, offset = time.perf_counter() - start, 0
            items = sum(piece.stop - piece.start for piece in pieces)
            for call, first, last in pieces:
                call.parts.append(result[offset : offset + last - first])
                call.given, offset = last, offset + last - first
                call.seconds += seconds * (last - first) / items
                if not call.left:
                    self._release(call)
            start = time.perf_counter()

    def _release(self, call: _Call, error: BaseException | None = None) -> None:
        """Let a row's thread go on."""
        with self.changed:
            call.row.call = None
        call.error = error
        call.ended.set()


def micro_batches(calls: Sequence[_Call], full: bool) -> list[list[_Piece]]:
    """Micro-batches of what is left of calls of one kind, in order; ``full``: without the last one if it is not full."""
    size, total = calls[0].size, sum(call.left for call in calls)
    room = [size] * (total // size) + ([total % size] if total % size and not full else [])
    batches: list[list[_Piece]] = [[] for _ in room]
    number = 0
    for call in calls:
        start = call.given
        while start < len(call.arrays[0]) and number < len(room):
            stop = min(len(call.arrays[0]), start + room[number])
            batches[number].append(_Piece(call, start, stop))
            room[number] -= stop - start
            start, number = stop, number + (room[number] == 0)
    return batches
