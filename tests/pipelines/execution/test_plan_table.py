"""The table of output segments: the same rows however many there are, and what an earlier run has left."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.execution import plan_table
from pipelines.execution.plan_table import PLAN_TABLE, PlanTable, earlier_plan
from pipelines.manifest.titles import Dub
from pipelines.planning.plans import DubPlan, OutputSegmentPlan, Receipt
from pipelines.state.run_directory import OutputSegmentId, RunDirectory


def dub_plan(title: str, segments: int) -> DubPlan:
    """A plan of which the first output segment is committed."""
    plan = DubPlan(title, "v.mp4", Dub("deu", "s.wav", "o.mp4"))
    for n in range(segments):
        which = OutputSegmentId("deu", n, 0, "k")
        receipt = Receipt("p", "s", 10, 1) if n == 0 else None
        plan.output_segments.append(OutputSegmentPlan(which, 10 * n, 10, receipt))
    return plan


def test_rows_are_written_in_order_across_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_table, "LOOSE", 4)
    run = RunDirectory(str(tmp_path))
    table = PlanTable()
    table.write(run)
    assert earlier_plan(run, ["a"]) == [], "an empty plan is a table, too"
    for title, segments in (("a", 3), ("b", 2), ("c", 1)):
        table.add(dub_plan(title, segments))
    assert len(table) == 6
    for _ in range(2):  # written again, it is the same
        table.write(run)
        found = pq.read_table(tmp_path / "plan.parquet")
        assert found.schema.equals(PLAN_TABLE)
        rows = [
            (row["title"], row["segment"], row["out_start"], row["committed"]) for row in found.to_pylist()
        ]
        assert rows == [
            ("a", 0, 0, True), ("a", 1, 10, False), ("a", 2, 20, False),
            ("b", 0, 0, True), ("b", 1, 10, False), ("c", 0, 0, True),
        ]  # fmt: skip


def test_rows_of_other_titles_stay(tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path))
    first = PlanTable()
    for title in ("a", "b"):
        first.add(dub_plan(title, 2))
    first.write(run)
    second = PlanTable(earlier_plan(run, {"b"}))
    second.add(dub_plan("c", 1))
    second.write(run)
    titles = pq.read_table(tmp_path / "plan.parquet")["title"].to_pylist()
    assert titles == ["b", "b", "c"]


def test_a_damaged_plan_is_none(tmp_path: Path) -> None:
    (tmp_path / "plan.parquet").write_bytes(b"PAR1 not really")
    assert earlier_plan(RunDirectory(str(tmp_path)), ["a"]) == []
