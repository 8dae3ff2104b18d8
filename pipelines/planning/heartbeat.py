"""Heartbeats: rows by which the planner of a long title shows that it is alive.

Ray's watchdog ends a run in which nothing comes out of any worker for too long, and a two-hour film is
planned for longer than that. How many heartbeats a title has depends on its number of frames alone, and all
come before its plan, so that a title planned again gives the same rows. They pass through the groups like
plans and end in `pipelines.execution.ray_graph.stream`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

import pyarrow as pa

from pipelines.engine.rows import HEARTBEAT, Row, empty_row

Found = TypeVar("Found")

#: Frames from one heartbeat to the next.
FRAMES = 5000


def heartbeats_of(n_frames: int) -> int:
    """Heartbeats of a title while cuts and faces are looked for."""
    return n_frames // FRAMES


class Heartbeats:
    """Gives the heartbeats of one title as they are due.

    Attributes:
        title: its id.
        total: how many there will have been before the plan.
        schema: of planned rows.
    """

    def __init__(self, title: str, total: int, schema: pa.Schema) -> None:
        self.title, self.total, self.schema = title, total, schema
        self._given = 0

    def until(self, count: int) -> Iterator[Row]:
        """Those up to a number that have not been given."""
        while self._given < min(count, self.total):
            self._given += 1
            yield empty_row(
                self.schema,
                {"segment_id": f"{self.title} beat {self._given}", "title": self.title, "kind": HEARTBEAT},
            )

    def following(self, looking: Generator[int, None, Found]) -> Generator[Row, None, Found]:
        """Those that are due while a title is looked through: `looking` yields the frames. Returns what it
        returns.
        """
        while True:
            try:
                frame = next(looking)
            except StopIteration as end:
                found: Found = end.value
                return found
            yield from self.until(frame // FRAMES)

    def rest(self) -> Iterator[Row]:
        """Those that have not been given."""
        return self.until(self.total)
