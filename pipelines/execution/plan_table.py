"""The table of a run's output segments, ``plan.parquet``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.storage.files import exists, filesystem, join
from pipelines.planning.plans import DubPlan
from pipelines.state.run_directory import RunDirectory, write_table

#: One row per output segment of the plan, for `retalk status` and for people.
PLAN_TABLE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("title", "dub", "name")),
        *(pa.field(name, pa.int64()) for name in ("segment", "output_segment", "out_start", "frames")),
        pa.field("committed", pa.bool_()),
    ]
)
#: Rows that are held as Python objects, which take ten times the memory of a table.
LOOSE = 2048


class PlanTable:
    """Rows of ``plan.parquet`` while a run lasts.

    Args:
        rows: those of titles that the run leaves alone (`earlier_plan`).
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self._loose = list(rows)
        self._tables: list[pa.RecordBatch] = []
        self._packed = 0

    def __len__(self) -> int:
        return self._packed + len(self._loose)

    def add(self, dub: DubPlan) -> None:
        """Add the output segments of a dub as planned."""
        self._loose += [
            {
                "title": dub.title,
                "dub": dub.dub.dub,
                "name": one.which.name,
                "segment": one.which.segment,
                "output_segment": one.which.output_segment,
                "out_start": one.out_start,
                "frames": one.frames,
                "committed": one.receipt is not None,
            }
            for one in dub.output_segments
        ]
        if len(self._loose) >= LOOSE:
            self._pack()

    def _pack(self) -> None:
        self._tables.append(pa.RecordBatch.from_pylist(self._loose, schema=PLAN_TABLE))
        self._packed, self._loose = len(self), []

    def write(self, run: RunDirectory) -> None:
        """Write ``plan.parquet``."""
        if self._loose:
            self._pack()
        write_table(join(run.url, "plan.parquet"), pa.Table.from_batches(self._tables, schema=PLAN_TABLE))


def earlier_plan(run: RunDirectory, titles: Collection[str]) -> list[dict[str, Any]]:
    """Rows of a run directory's ``plan.parquet`` for these titles; none where the file is missing or damaged."""
    url = join(run.url, "plan.parquet")
    if not exists(url):
        return []
    fs, path = filesystem(url)
    try:
        with fs.open(path, "rb") as file:
            rows = pq.read_table(file, schema=PLAN_TABLE).to_pylist()
    except pa.ArrowInvalid:
        return []
    return [row for row in rows if row["title"] in titles]
