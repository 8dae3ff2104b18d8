"""Heartbeats: the planner of a long title is heard while it looks for cuts and faces, in the same way each
time, and nobody else minds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.faces.anchors import FaceError
from pipelines.engine.engine import FINAL
from pipelines.engine.rows import HEARTBEAT, PLAN_ROW, SEGMENT, from_table
from pipelines.engine.specs import GroupSpec, PlanSpec
from pipelines.execution.batching import BatchingPolicy, unpack
from pipelines.execution.ray_graph import _rows, plan_batches
from pipelines.execution.worker import Group
from pipelines.manifest.titles import Title
from pipelines.planning import heartbeat as heartbeats
from pipelines.planning.planner import Planner
from pipelines.planning.plans import TitlePlan, decode
from pipelines.planning.segment_rows import PLANNED
from pipelines.state.coordinator import MAX_ATTEMPTS, Coordinator, WorkKey
from tests.pipelines.conftest import engine_config
from tests.pipelines.planning.test_planner import title_of


@pytest.fixture
def title(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Title:
    """A title of 24 frames with a heartbeat row for each seven."""
    monkeypatch.setattr(heartbeats, "FRAMES", 7)
    return title_of(footage, tmp_path)


def kinds(planner: Planner, title: Title) -> list[str]:
    return [row["kind"] for row in planner.steps(title)]


def test_beats_come_before_the_plan_and_are_the_same_again(title: Title, tmp_path: Path) -> None:
    planner = Planner(PlanSpec(engine_config(), str(tmp_path), 7), Coordinator())
    rows = planner.steps(title)
    assert next(rows)["kind"] == HEARTBEAT, "heard when a third has been looked through"
    assert not (tmp_path / "plans").exists(), "and not at the end"
    first = [HEARTBEAT, *(row["kind"] for row in rows)]
    assert first == [HEARTBEAT] * 3 + [PLAN_ROW] + [SEGMENT] * 4
    assert kinds(planner, title) == first, "from the cache as well"
    assert [row["kind"] for row in planner.plan(title)] == [PLAN_ROW] + [SEGMENT] * 4
    planner = Planner(PlanSpec(engine_config(), str(tmp_path), 7), Coordinator())
    assert kinds(planner, Title(title.id, "/nowhere.mp4", title.dubs)) == [PLAN_ROW]


def test_beats_when_no_face_is_found_or_the_planner_has_died(title: Title, tmp_path: Path) -> None:
    """A title that has given heartbeats gives as many when it fails: the plan has its place behind them."""
    coordinator = Coordinator()
    planner = Planner(PlanSpec(engine_config(find_faces=True), str(tmp_path), 7), coordinator)
    *heard, plan = planner.steps(title)
    assert len(heard) == 3
    assert FaceError.__name__ not in plan["error"]
    assert "no face found" in plan["error"]
    for _ in range(MAX_ATTEMPTS):
        coordinator.begin(WorkKey(("plan",), "t"))
    *heard, plan = planner.steps(title)
    assert len(heard) == 3
    assert "killed its worker 3 times" in plan["error"]


def test_heartbeats_are_batches_of_their_own_and_end_at_the_driver(title: Title, tmp_path: Path) -> None:
    planner = Planner(PlanSpec(engine_config(), str(tmp_path), 7), Coordinator())
    tables = list(plan_batches(planner, [title], BatchingPolicy(frames=500, titles=100)))
    assert [unpack(table, PLANNED).num_rows for table in tables] == [1] * 3 + [5]
    group = Group(
        GroupSpec(engine_config(), ("brightness", "level", "paint"), str(tmp_path)),
        Coordinator(),
        BatchingPolicy(500),
    )
    (heartbeat,) = group(tables[0])
    assert from_table(unpack(heartbeat, FINAL), FINAL)["kind"] == HEARTBEAT
    assert list(_rows(heartbeat, FINAL)) == list(_rows(tables[0], PLANNED)) == []
    plan, *rows = (row for table in tables for row in _rows(table, PLANNED))
    assert len(decode(TitlePlan, plan["meta"]).dubs[0].output_segments) == len(rows) == 4
