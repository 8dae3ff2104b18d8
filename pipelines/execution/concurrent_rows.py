"""The rows of a batch through a group of stages: one after the other, or several at the same time where their networks
share micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from operators.shared_batches import SharedBatches
from pipelines.engine.rows import Row
from pipelines.execution.batching import frames_of

#: A row that is finished (None), or one that goes on at a stage of the engine.
Part = tuple[Row, int | None]
#: Frames of a planned row, with its halo and without.
Size = tuple[int, int]
#: A resulting row, with the frames of the one that it was made of.
Sized = tuple[Row, Size]
#: Takes a row and the index of a stage of the engine, and runs stages up to the fan-out or the end of the group.
Step = Callable[[Row, int], Iterable[Part]]


def finished(step: Step, part: Part) -> Iterator[Row]:
    """Rows that a part becomes, one after the other."""
    row, position = part
    if position is None:
        yield row
        return
    for following in step(row, position):
        yield from finished(step, following)


def concurrently(step: Step, rows: Iterable[Row], first: int, fan_out: bool, frames: int) -> Iterator[Sized]:
    """The same rows in the same order as `finished` gives for each, several worked on at a time; behind the fan-out
    several of their dubs.

    Args:
        step: called in a thread for each row.
        rows: to be worked on.
        first: stage at which they begin.
        fan_out: it is between two stages of the group.
        frames: of rows that are worked on or wait to be taken, before the fan-out and behind it.
    """
    begun: Iterator[tuple[Part, Size]] = (((row, first), frames_of(row)) for row in rows)
    if fan_out:

        def parts(one: tuple[Part, Size]) -> list[tuple[Part, Size]]:
            return [(part, one[1]) for part in step(one[0][0], first)]

        at_fan_out = SharedBatches(frames).map(parts, ((one, one[1][0]) for one in begun))
        begun = chain.from_iterable(at_fan_out)

    def rest(one: tuple[Part, Size]) -> list[Sized]:
        return [(row, one[1]) for row in finished(step, one[0])]

    weighed = ((one, max(one[1][0], len(one[0][0].get("source", ())))) for one in begun)
    yield from chain.from_iterable(SharedBatches(frames).map(rest, weighed))
