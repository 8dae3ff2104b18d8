"""Batches: short rows go together within bounds, few rows are spread, a worker that dies costs one row, and a
second try gives the same.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.rows import PLAN_ROW, SEGMENT, Row, empty_row, from_table
from pipelines.engine.specs import GroupSpec, PlanSpec
from pipelines.execution.assembler_pool import AssemblerPool
from pipelines.execution.assembly import AssemblySpec, assemble_dub
from pipelines.execution.batching import MAX_BYTES, MAX_ROWS, Batcher, BatchingPolicy, pack, unpack
from pipelines.execution.ray_graph import LARGE, LARGE_WAIT, plan_batches, reduce_scheduler_polling
from pipelines.execution.worker import Group
from pipelines.manifest.titles import Dub, Title
from pipelines.planning.planner import Planner
from pipelines.planning.plans import DubPlan
from pipelines.planning.segment_rows import PLANNED
from pipelines.state.coordinator import MAX_ATTEMPTS, Coordinator, WorkKey
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.conftest import engine_config, make_video
from tests.pipelines.engine.test_rows import SCHEMA, row
from tests.pipelines.test_runner import catalogue, digests, go


def rows_of(tables: list[pa.Table], schema: pa.Schema) -> list[list[Row]]:
    """The rows of each batch."""
    plain = [unpack(table, schema) for table in tables]
    return [[from_table(table, schema, index) for index in range(table.num_rows)] for table in plain]


def test_what_is_packed_comes_out() -> None:
    rows = [row(5), empty_row(SCHEMA, {"name": "bad", "count": 1}), row(0), row(17)]
    batches = [pack(rows[:3], SCHEMA), pack(rows[3:], SCHEMA)]
    assert [table.num_rows for table in batches] == [1, 1], "one row for Ray, which it cannot split"
    table = pa.concat_tables(batches)
    with pa.BufferOutputStream() as sink:  # as Ray moves them: serialised and sliced
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        moved = pa.ipc.open_stream(sink.getvalue()).read_all()
    for before, after in zip(
        rows,
        [*rows_of([moved.slice(0, 1)], SCHEMA)[0], *rows_of([moved.slice(1, 1)], SCHEMA)[0]],
        strict=True,
    ):
        for name, value in before.items():
            assert np.array_equal(after[name], value), name
    alone = row(5)
    assert np.shares_memory(alone["crops"], rows_of([pack([alone], SCHEMA)], SCHEMA)[0][0]["crops"]), (
        "a large row is not copied"
    )


def test_batches_are_bounded() -> None:
    def sizes(frames: list[int], limit: int, rows: int = MAX_ROWS, schema: pa.Schema = SCHEMA) -> list[int]:
        batcher = Batcher(schema, limit, rows)
        tables = [table for count in frames for table in batcher.add(row(1), count, count)]
        return [len(batch) for batch in rows_of([*tables, *batcher.rest()], schema)]

    assert sizes([10, 10, 10, 10, 10], 25) == [2, 2, 1]
    assert sizes([10, 90, 10, 10], 25) == [1, 1, 2], "a long row goes alone"
    assert sizes([10] * 5, 1000, 2) == [2, 2, 1]
    assert sizes([0] * (MAX_ROWS + 1), 1000) == [MAX_ROWS, 1]
    third = MAX_BYTES // 3 // 60  # of rows with 48 bytes and more a frame
    assert sizes([third] * 5, 10**9) == [3, 2], "no more memory than a bound, however many frames are allowed"


def test_few_rows_are_spread_and_many_go_together() -> None:
    alone = BatchingPolicy(frames=500, titles=1, workers=8, planners=2)
    assert (alone.titles_per_task, alone.rows(8), alone.rows(32), alone.rows(320)) == (1, 1, 1, 10)
    assert alone.block_frames == 500
    catalogue = BatchingPolicy(frames=500, titles=10_000, workers=8, planners=2)
    assert (catalogue.titles_per_task, catalogue.rows(1), catalogue.block_frames) == (64, 128, 4000)
    tasks = [list(range(10_000))[task] for task in catalogue.tasks()]
    assert [len(task) for task in tasks[:14]] == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64], (
        "the first title comes out early"
    )
    assert [title for task in tasks for title in task] == list(range(10_000))
    some = BatchingPolicy(frames=500, titles=100, workers=256, planners=32)
    assert (some.titles_per_task, some.rows(5), some.rows(1500)) == (1, 1, 128), (
        "a hundred films go together, a hundred clips do not"
    )


def planned(
    footage: Path, folder: Path, coordinator: Coordinator, made: int = 3, **policy: int
) -> list[list[Row]]:
    """Batches of titles of four segments each."""
    listed = [
        Title(
            f"t{n}",
            str(footage / "a.mp4"),
            (Dub("dub", str(footage / "exact.wav"), str(folder / f"{n}.mp4")),),
        )
        for n in range(made)
    ]
    planner = Planner(PlanSpec(engine_config(), str(folder), 7), coordinator)
    return rows_of(list(plan_batches(planner, listed, BatchingPolicy(**policy))), PLANNED)


def numbers(batches: list[list[Row]]) -> list[list[tuple[str, str, int]]]:
    return [[(r["title"], r["kind"], r["segment"]) for r in batch] for batch in batches]


def test_titles_share_batches_only_where_there_are_many(footage: Path, tmp_path: Path) -> None:
    assert [len(batch) for batch in planned(footage, tmp_path, Coordinator())] == [1] * 15, (
        "three marks and twelve segments, each alone"
    )
    many = planned(footage, tmp_path, Coordinator(), frames=500, titles=64)
    assert [len(batch) for batch in many] == [15]


def test_a_title_planned_again_gives_the_same_rows(footage: Path, tmp_path: Path) -> None:
    """Its worker died when some of its rows were on their way, committed, or even assembled: Ray expects the
    same again, in order.
    """
    coordinator = Coordinator()
    first = planned(footage, tmp_path, coordinator, frames=20, titles=4)
    run = RunDirectory(str(tmp_path))
    group = Group(GroupSpec(engine_config(), ("brightness", "level", "paint"), str(tmp_path)), coordinator)
    for batch in first[:2]:
        list(group(pack(batch, PLANNED)))
    assert len(run.committed("t0")) >= 2
    again = planned(footage, tmp_path, coordinator, frames=20, titles=4)
    assert numbers(again) == numbers(first)
    assert [r["meta"] or r["dubs"] for b in again for r in b if r["kind"] == SEGMENT] == [
        r["meta"] or r["dubs"] for b in first for r in b if r["kind"] == SEGMENT
    ]
    other = numbers(planned(footage, tmp_path, Coordinator(), frames=20, titles=4))
    assert sum(map(len, other)) < sum(map(len, numbers(first))), "another run leaves out what is committed"


@pytest.mark.parametrize("stages", [("brightness", "level", "misbehave_dub", "paint"), ("brightness",)])
def test_a_row_that_kills_is_an_error_alone(footage: Path, tmp_path: Path, stages: tuple[str, ...]) -> None:
    coordinator = Coordinator()
    (batch, *_) = planned(footage, tmp_path, coordinator, titles=64, frames=500)
    coordinator.begin(WorkKey(stages, "t0", unit="batch"))  # a worker died, over an unknown row
    for _ in range(MAX_ATTEMPTS):
        coordinator.begin(WorkKey(stages, "t0", 2, unit="row in batch"))
    group = Group(
        GroupSpec(engine_config("MisbehaveDub"), stages, str(tmp_path)), coordinator, BatchingPolicy(500)
    )
    results = [
        result for batch in rows_of(list(group(pack(batch[:5], PLANNED))), group.output) for result in batch
    ]
    assert [(r["kind"], r["segment"], "died 3 times" in r["error"]) for r in results] == [
        (PLAN_ROW, 0, False),
        (SEGMENT, 0, False),
        (SEGMENT, 1, False),
        (SEGMENT, 2, True),
        (SEGMENT, 3, False),
    ]


def test_the_rows_of_a_batch_are_counted_only_after_it_has_killed_its_worker(
    footage: Path, tmp_path: Path
) -> None:
    class Asked(Coordinator):
        def begin(self, key: WorkKey) -> int:
            asked.append(key)
            return super().begin(key)

    coordinator, asked = Asked(), list[WorkKey]()
    (batch, *_) = planned(footage, tmp_path, Coordinator(), titles=64, frames=500)
    group = Group(
        GroupSpec(engine_config(), ("brightness",), str(tmp_path)), coordinator, BatchingPolicy(500)
    )
    list(group(pack(batch[:3], PLANNED)))
    assert asked == [WorkKey(("brightness",), "t0", unit="batch")]
    assert coordinator.snapshot()["running"] == []
    coordinator.begin(asked[0])
    list(group(pack(batch[:3], PLANNED)))
    assert asked[2:] == [
        WorkKey(("brightness",), "t0", unit="batch"),
        WorkKey(("brightness",), "t0", 0, unit="row in batch"),
        WorkKey(("brightness",), "t0", 1, unit="row in batch"),
    ]
    assert coordinator.snapshot()["running"] == []


def test_where_batches_end_does_not_depend_on_errors(footage: Path, tmp_path: Path) -> None:
    (batch, *_) = planned(footage, tmp_path, Coordinator(), titles=64, frames=500)

    def shape(fail: str) -> list[list[tuple[str, str, int]]]:
        config = engine_config("Misbehave", options={"Misbehave": {"fail": fail}})
        group = Group(
            GroupSpec(config, ("brightness", "misbehave"), str(tmp_path)), Coordinator(), BatchingPolicy(20)
        )
        return numbers(rows_of(list(group(pack(batch, PLANNED))), group.output))

    assert shape("t1") == shape("nobody")
    assert len(shape("t1")) > 3


def test_what_a_dead_worker_committed_is_not_computed_again(footage: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = engine_config(options={"Paint": {"log": str(log)}})
    batches = planned(footage, tmp_path, Coordinator(), titles=64, frames=500)
    stages = ("brightness", "level", "paint")

    def final(coordinator: Coordinator, rows: list[Row]) -> list[Row]:
        group = Group(GroupSpec(config, stages, str(tmp_path)), coordinator, BatchingPolicy(500))
        return [
            result for batch in rows_of(list(group(pack(rows, PLANNED))), group.output) for result in batch
        ]

    calm = final(Coordinator(), batches[0][:3])
    assert len(log.read_text().split()) == 2
    again = final(Coordinator(), batches[0][:5])  # of a coordinator that died too
    assert log.read_text().split()[2:] == ["t0/2/dub/0", "t0/3/dub/0"]
    assert [{k: v for k, v in r.items() if k != "meta"} for r in again[:3]] == [
        {k: v for k, v in r.items() if k != "meta"} for r in calm
    ]
    assert json.loads(again[1]["meta"])["seconds"].keys() == {"brightness", "level", "paint"}


def test_many_short_titles_on_ray_with_one_that_kills(
    footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    """Titles share planning tasks and batches; the killer fails alone, and the others are as the plain loop
    makes them.
    """
    make_video(tmp_path / "short.mp4", frames=6, sound=False)
    plain = {**catalogue(footage)[0], "video": str(tmp_path / "short.mp4")}
    rows = [{**plain, "id": f"t{n}", "output": f"t{n}.mp4"} for n in range(40)]
    options = {"MisbehaveDub": {"kill": "t17", "folder": str(tmp_path)}}
    report = go(rows, tmp_path / "run", "MisbehaveDub", ray=True, pools=2, stage_options=options)
    assert len(list(tmp_path.glob("mark-*"))) == MAX_ATTEMPTS + 1, (
        "once in a batch whose rows were not counted"
    )
    assert [(record["title"], "died 3 times" in record["error"]) for record in report.failed] == [
        ("t17", True)
    ]
    go(rows[:1], tmp_path / "calm")
    assert set(digests(tmp_path / "run").values()) == set(digests(tmp_path / "calm").values())
    assert len(digests(tmp_path / "run")) == 39


def test_what_waits_in_front_of_a_slow_pool_is_bounded(
    footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    """The last stage stands still at its third segment. The first one, in a pool of its own, stops soon
    after, and not at the end of the title: memory does not grow with a title's length.
    """
    go_on = tmp_path / "go-on"
    options = {"Paint": {"wait": str(go_on)}}
    make_video(tmp_path / "long.mp4", frames=80, sound=False)
    rows = [{**catalogue(footage)[0], "video": str(tmp_path / "long.mp4")}]
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(
            go, rows, tmp_path / "run", ray=True, pools=2, frames=2, stage_options=options
        )
        analysed: list[int] = []
        while len(analysed) < 10 or analysed[-10] != analysed[-1] or analysed[-1] < 3:
            assert not running.done(), running.result()
            analysed.append(len(list((tmp_path / "run" / "analysis").rglob("*.arrow"))))
            time.sleep(0.5)
        go_on.touch()
        report = running.result()
    assert (report.exit_code, report.computed) == (0, 40)
    assert analysed[-1] < 20, "it had stopped by itself"


def test_a_large_catalogue_is_looked_at_less_often() -> None:
    from ray.data._internal.execution import streaming_executor_state as scheduler

    usual = scheduler.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S  # should a new Ray call it otherwise, this says so
    with reduce_scheduler_polling(LARGE - 1):
        assert usual == scheduler.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S
    with reduce_scheduler_polling(LARGE):
        some = scheduler.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S
        assert usual < some < LARGE_WAIT
    with reduce_scheduler_polling(100 * LARGE):
        assert some < scheduler.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S == LARGE_WAIT
    assert usual == scheduler.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S


def test_assemblers_share_the_dubs_that_wait() -> None:
    """Short dubs go several at a time, but not all to one assembler; long ones go alone; none is taken twice
    or left.
    """

    def dub(number: int, frames: int) -> DubPlan:
        return DubPlan(f"t{number}", "v.mp4", Dub("de", "s.wav", "o.mp4"), frames=frames)

    def taken(frames: list[int], at_once: int) -> list[list[str]]:
        pool = AssemblerPool(0, at_once, AssemblySpec("run", "test"), assemble_dub)
        for number, count in enumerate(frames):
            pool.put(dub(number, count))
        batches = [[taken.title for taken in pool._taken()] for _ in frames]
        assert [title for batch in batches for title in batch] == [
            f"t{number}" for number in range(len(frames))
        ]
        return [batch for batch in batches if batch]

    assert [len(batch) for batch in taken([25] * 8, 1)] == [8]
    assert [len(batch) for batch in taken([25] * 8, 4)] == [2, 2, 1, 1, 1, 1]
    assert max(len(batch) for batch in taken([25] * 100, 1)) == 16
    assert [len(batch) for batch in taken([100_000, 25, 100_000, 25, 25], 1)] == [1, 1, 1, 2]
