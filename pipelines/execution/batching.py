"""Batches: several rows that travel between two pools as one block.

Ray's own cost is 15 to 25 ms of the driver per block, independent of its size, so short rows go together, up to a
bounded amount of work and memory; long ones go alone. A batch is one Ray row (a list of structs): Ray never
splits one and never joins two.

Where a batch ends depends only on the rows' frames and the stages' declarations, never on time, sizes on disk
or errors: a worker that is started again over the same input must give the same batches in the same order,
for Ray drops as many of them as it has seen before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pipelines.engine.rows import Row, row_bytes, to_table

#: Name of the only column of a packed table.
ROWS = "rows"
#: Bytes of tensors in a batch of several rows, at most; more in front of a group whose rows share micro-batches.
MAX_BYTES = 16 << 20
#: Rows in a batch, at most.
MAX_ROWS = 128
#: Titles planned by one task, at most, and tasks that each planner has at least: a planner with long titles
#: is not waited for at the end.
MAX_TITLES, PLANNER_TASKS = 64, 16
#: Bytes that may wait in front of a pool for each byte that its workers have: the store holds as much for a
#: long title as for a short one.
QUEUED = 1
#: Factor by which batches may be longer in large catalogues, and titles per worker for each step of it.
MAX_LONGER, WORKER_TITLES = 8, 16
#: Batches that each worker of the largest pool has at least over a run, as far as there are rows.
BATCHES_PER_WORKER = 4


@dataclass(frozen=True)
class BatchingPolicy:
    """Size of a run's batches. The default is one row each.

    Attributes:
        frames: source frames to decode, halo included, where there is no reason for more.
        titles: of the run.
        workers: of its largest pool.
        planners: planning workers.
        segments: times as many frames where that is more: those that rows share micro-batches over.
    """

    frames: int = 1
    titles: int = 1
    workers: int = 1
    planners: int = 1
    segments: int = 1

    @property
    def block_frames(self) -> int:
        """Source frames to decode that go together, halo included; a row with more is alone.

        Where every worker has many titles before it, a batch may be longer: it stays a small part of what a
        worker does, so that none is waited for at the end.
        """
        return self.frames * max(
            self.segments, min(MAX_LONGER, self.titles // (WORKER_TITLES * self.workers))
        )

    @property
    def titles_per_task(self) -> int:
        """Titles per planning task: one, unless there are many more than planners and workers."""
        return max(
            1,
            min(
                MAX_TITLES,
                self.titles // (PLANNER_TASKS * self.planners),
                self.titles // (BATCHES_PER_WORKER * self.workers),
            ),
        )

    def tasks(self) -> Iterator[slice]:
        """The titles of each planning task. The first ones are small, so that the first title comes out
        early.
        """
        start = task = 0
        while start < self.titles:
            stop = start + min(self.titles_per_task, 1 << min(task // self.planners, 10))
            yield slice(start, stop)
            start, task = stop, task + 1

    def rows(self, planned: int) -> int:
        """Return the rows of a title with so many that may share a batch, if the run's other titles have as many: few
        rows are all spread.
        """
        return max(1, min(MAX_ROWS, self.titles * planned // (BATCHES_PER_WORKER * self.workers)))

    def batcher(self, schema: pa.Schema, rows: int, segments: int) -> Batcher:
        """Make a batcher for the rows that come of a batch of so many.

        Args:
            schema: of the rows.
            rows: of the batch. One, where few are spread, stays one.
            segments: of the profile's length whose frames and bytes a batch may have; 1: `MAX_BYTES` and as many rows.
        """
        if segments == 1 or rows == 1:
            return Batcher(schema, self.block_frames, rows)
        frames = segments * self.frames
        # Some columns have bytes in each row however short it is.
        return Batcher(
            schema,
            max(self.block_frames, frames),
            MAX_ROWS,
            max(MAX_BYTES, row_bytes(schema, frames) + (1 << 20)),
        )


#: One row each.
ALONE = BatchingPolicy()


def pack(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table of one row; tensors of a single row are not copied."""
    table = (
        to_table(rows[0], schema)
        if len(rows) == 1
        else pa.concat_tables([to_table(row, schema) for row in rows]).combine_chunks()
    )
    arrays = [column.chunk(0) for column in table.columns]
    struct = pa.StructArray.from_arrays(arrays, fields=list(schema))
    return pa.table({ROWS: pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), struct)})


def unpack(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """All rows of packed batches as a plain table; tensors are views of its memory."""
    chunks = [
        pa.Table.from_arrays(chunk.flatten().flatten(), schema=schema) for chunk in table.column(ROWS).chunks
    ]
    return pa.concat_tables(chunks) if chunks else schema.empty_table()


class Batcher:
    """Gathers rows into batches.

    Args:
        schema: of the rows.
        frames: in a batch, at most; a row with more is alone.
        rows: in a batch, at most.
        size: bytes of tensors in a batch of several rows, at most.
    """

    def __init__(self, schema: pa.Schema, frames: int, rows: int, size: int = MAX_BYTES) -> None:
        self._schema, self._frames_limit, self.rows_limit = schema, frames, min(rows, MAX_ROWS)
        self._bytes_limit = size
        self._rows: list[Row] = []
        self._frames = self._bytes = 0

    def add(self, row: Row, frames: int, core: int) -> Iterator[pa.Table]:
        """Add a row of so many frames (with and without halo); yields the batches that are full."""
        size = row_bytes(self._schema, frames, core)
        fits = (
            len(self._rows) < self.rows_limit
            and self._frames + frames <= self._frames_limit
            and self._bytes + size <= self._bytes_limit
        )
        if not fits:
            yield from self.rest()
        self._rows.append(row)
        self._frames, self._bytes = self._frames + frames, self._bytes + size
        if len(self._rows) >= self.rows_limit or self._frames >= self._frames_limit:
            yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """The batch that is not full."""
        if self._rows:
            yield pack(self._rows, self._schema)
        self._rows, self._frames, self._bytes = [], 0, 0


def frames_of(row: Row) -> tuple[int, int]:
    """Frames of a planned row, with its halo and without; none of a title's plan."""
    return int(row["halo_stop"]) - int(row["halo_start"]), int(row["stop"]) - int(row["start"])
