"""The adapter: fan-out wherever it falls, columns checked and dropped, errors and dead workers as rows,
receipts behind the last stage.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.media.container import open_input
from operators.media.probe import probe_video
from operators.segment import Segment
from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import Engine
from pipelines.engine.rows import PLAN_ROW, SEGMENT, Row, empty_row, from_table, to_table
from pipelines.engine.specs import GroupSpec
from pipelines.execution import worker
from pipelines.execution.batching import pack, unpack
from pipelines.execution.worker import Group
from pipelines.planning.fanout import output_segment_task
from pipelines.planning.length_rules import OutputSegment
from pipelines.planning.plans import DubTask, SpeakerTask, decode, encode
from pipelines.planning.segment_rows import PLANNED
from pipelines.state.coordinator import MAX_ATTEMPTS, Coordinator, WorkKey, noted_reads
from pipelines.state.run_directory import OutputSegmentId, RunDirectory
from tests.pipelines.conftest import engine_config


def planned_row(video: Path, run: Path, dubs: tuple[str, ...] = ("de", "fr")) -> Row:
    """A row of frames 4 to 12 with a halo of 2; each dub has the output segment itself and two of its frames
    run backwards.
    """
    info = probe_video(str(video))
    pts = info.pts[2:14]
    tasks = []
    for dub in dubs:
        output_segments = [
            OutputSegment(0, 4, 1, 4, info.pts[4:12] + 100),
            OutputSegment(0, 7, -1, 30, np.array([5000, 5010], np.int64)),
        ]
        listed = [
            output_segment_task(output_segment, n, f"key{n}", pts, 2)
            for n, output_segment in enumerate(output_segments)
        ]
        options = {"level": {"gain": 0.5}} if dub == "fr" else {}
        tasks.append(DubTask(dub, f"{dub}.wav", options, listed))
    return {
        "kind": SEGMENT,
        "segment_id": "t/0",
        "title": "t",
        "video": str(video),
        "work": RunDirectory(str(run)).segments("t"),
        "options": "",
        "dubs": encode(tasks),
        "error": "",
        "segment": 0,
        "frame_width": info.width,
        "frame_height": info.height,
        "start": 4,
        "stop": 12,
        "halo_start": 2,
        "halo_stop": 14,
        "shot_start": 0,
        "shot_stop": info.n_frames,
        "n_frames": info.n_frames,
        "time_base_num": info.time_base.numerator,
        "time_base_den": info.time_base.denominator,
        "out_origin": int(info.pts[0]),
        "pts": pts,
        "anchor": np.full(4, np.nan, np.float32),
        "meta": "",
    }


def run_groups(
    config: EngineConfig,
    groups: list[tuple[str, ...]],
    row: Row,
    run: Path,
    coordinator: Coordinator | None = None,
) -> list[Row]:
    """A row through groups one after the other, as tables between them, as in Ray."""
    tables = [pack([row], PLANNED)]
    group = None
    for stages in groups:
        group = Group(GroupSpec(config, stages, str(run)), coordinator or Coordinator())
        tables = [result for table in tables for result in group(table)]
    assert group is not None
    return [from_table(unpack(table, group.output), group.output) for table in tables]


@pytest.mark.parametrize(
    "groups",
    [
        [("brightness", "level", "paint")],
        [("brightness",), ("level", "paint")],
        [("brightness", "level"), ("paint",)],
        [("brightness",), ("level",), ("paint",)],
    ],
    ids=str,
)
def test_fan_out_wherever_the_groups_are_cut(
    footage: Path, tmp_path: Path, groups: list[tuple[str, ...]]
) -> None:
    rows = run_groups(engine_config(), groups, planned_row(footage / "a.mp4", tmp_path), tmp_path)
    assert [(r["segment_id"], r["dub"], r["frames"], r["error"]) for r in rows] == [
        ("t/0/de/0", "de", 8, ""),
        ("t/0/de/1", "de", 2, ""),
        ("t/0/fr/0", "fr", 8, ""),
        ("t/0/fr/1", "fr", 2, ""),
    ]
    for row in rows:
        info = probe_video(row["path"])
        assert info.n_frames == row["frames"]
        assert json.loads(row["meta"])["seconds"].keys() == {"brightness", "level", "paint"}
    backwards = probe_video(rows[1]["path"])
    assert (backwards.pts[1] - backwards.pts[0]) * backwards.time_base == 10 * probe_video(
        str(footage / "a.mp4")
    ).time_base
    committed = RunDirectory(str(tmp_path)).committed("t")
    assert sorted(committed) == [
        ("de", 0, 0, "key0"),
        ("de", 0, 1, "key1"),
        ("fr", 0, 0, "key0"),
        ("fr", 0, 1, "key1"),
    ]
    assert [OutputSegmentId.of(row) for row in rows] == sorted(committed), "rows say it in columns"
    assert {r["sha256"] for r in rows} == {receipt["sha256"] for receipt in committed.values()}
    assert len({r["sha256"] for r in rows}) == 4, "the dub's own option (gain) makes another picture"


def test_error_becomes_a_row_and_passes_untouched(footage: Path, tmp_path: Path) -> None:
    config = engine_config("Misbehave", options={"Misbehave": {"fail": "t"}})
    first = Group(GroupSpec(config, ("brightness", "misbehave"), str(tmp_path)), Coordinator())
    (row,) = first.process(planned_row(footage / "a.mp4", tmp_path))
    assert row["error"] == f"misbehave: {footage / 'a.mp4'}: told to fail at frame 4"
    assert json.loads(row["meta"])["failed"] == "misbehave"
    assert "told to fail" in json.loads(row["meta"])["traceback"]
    assert (row["dub"], row["brightness"].shape, row["brightness"].dtype, row["pts"].shape) == (
        "",
        (0,),
        np.float32,
        (0,),
    )
    last = Group(GroupSpec(config, ("level", "paint"), str(tmp_path)), Coordinator())
    (end,) = last.process(from_table(to_table(row, first.output), first.output))
    assert (end["error"], end["path"], end["frames"], end["meta"]) == (row["error"], "", 0, row["meta"])
    assert RunDirectory(str(tmp_path)).committed("t") == {}


@pytest.mark.parametrize("failing", ["", "t"])
def test_a_row_that_is_done_is_let_go(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Its frames go with it, before the next row comes and without the garbage collector."""
    seen: list[weakref.ref[Segment]] = []

    class Watched(Segment):
        def __init__(self, row: Row) -> None:
            super().__init__(row)
            seen.append(weakref.ref(self))

    monkeypatch.setattr(worker, "Segment", Watched)
    config = engine_config("Misbehave", options={"Misbehave": {"fail": failing}}, metrics=["seam", "flicker"])
    group = Group(GroupSpec(config, tuple(Engine(config).names), str(tmp_path)), Coordinator())
    gc.disable()
    try:
        rows = list(group.process(planned_row(footage / "a.mp4", tmp_path)))
        assert [bool(row["error"]) for row in rows] == ([True] if failing else [False] * 4)
        assert seen
        assert [one() for one in seen] == [None] * len(seen)
    finally:
        gc.enable()


def test_a_receipt_that_cannot_be_read_is_none(footage: Path, tmp_path: Path) -> None:
    loop = tmp_path / "receipts" / "t" / "de.00000.001.key1.json"
    loop.parent.mkdir(parents=True)
    loop.symlink_to(loop)
    rows = run_groups(
        engine_config(),
        [("brightness", "level", "paint")],
        planned_row(footage / "a.mp4", tmp_path),
        tmp_path,
    )
    assert [r["error"] for r in rows] == [""] * 4
    assert len(RunDirectory(str(tmp_path)).committed("t")) == 4


def test_error_of_one_dub_leaves_the_others(footage: Path, tmp_path: Path) -> None:
    config = engine_config("MisbehaveDub", options={"MisbehaveDub": {"fail": "t", "dub": "de"}})
    rows = run_groups(
        config, [tuple(Engine(config).names)], planned_row(footage / "a.mp4", tmp_path), tmp_path
    )
    assert [(r["dub"], bool(r["error"])) for r in rows] == [
        ("de", True),
        ("de", True),
        ("fr", False),
        ("fr", False),
    ]


def test_columns_are_checked_at_the_stages_edge(footage: Path, tmp_path: Path) -> None:
    config = engine_config("Broken")
    (row,) = run_groups(
        config, [("brightness", "broken")], planned_row(footage / "a.mp4", tmp_path), tmp_path
    )
    assert row["error"] == "broken: stage 'broken': columns ['promised'] are declared but absent"


def test_values_that_arrow_refuses_are_the_stages_error(footage: Path, tmp_path: Path) -> None:
    (row,) = run_groups(
        engine_config("WrongScalar"),
        [("brightness", "wrong_scalar")],
        planned_row(footage / "a.mp4", tmp_path),
        tmp_path,
    )
    assert row["error"].startswith("wrong_scalar: ")
    assert "many" in row["error"]


def test_marks_pass_untouched(tmp_path: Path) -> None:
    mark = empty_row(PLANNED, {"kind": PLAN_ROW, "segment_id": "t", "title": "t", "meta": '{"dubs": []}'})
    (end,) = run_groups(engine_config(), [("brightness",), ("level", "paint")], mark, tmp_path)
    assert (end["kind"], end["meta"], end["error"], end["dub"]) == (PLAN_ROW, '{"dubs": []}', "", "")


def test_a_row_begun_too_often_is_an_error(footage: Path, tmp_path: Path) -> None:
    coordinator = Coordinator()
    for _ in range(MAX_ATTEMPTS):
        coordinator.begin(WorkKey(("brightness",), "t", 0))
    (row,) = run_groups(
        engine_config(), [("brightness",)], planned_row(footage / "a.mp4", tmp_path), tmp_path, coordinator
    )
    assert "brightness: the worker died 3 times in a row on this segment (frames 4 to 12 of" in row["error"]
    assert coordinator.snapshot()["running"] == [], "a later run of the same row starts to count anew"


def test_the_file_that_was_read_when_the_worker_died_is_named(footage: Path, tmp_path: Path) -> None:
    """Files are noted from the second attempt on, and what has been closed is not blamed."""
    coordinator, key = Coordinator(), WorkKey(("brightness",), "t", 0)
    told: list[str] = []
    for attempts in (1, 2):
        with noted_reads(coordinator, key, attempts)(), open_input(str(footage / "a.mp4")):
            told.append(coordinator.last_read(key))
        assert coordinator.last_read(key) == ""
    assert told == ["", str(footage / "a.mp4")]
    for _ in range(MAX_ATTEMPTS):
        coordinator.begin(key)
    coordinator.reading(key, "/in/speech.wav")
    (row,) = run_groups(
        engine_config(), [("brightness",)], planned_row(footage / "a.mp4", tmp_path), tmp_path, coordinator
    )
    assert "while it was reading /in/speech.wav; is that file damaged?" in row["error"]


def test_a_dub_begun_too_often_leaves_the_others(footage: Path, tmp_path: Path) -> None:
    coordinator = Coordinator()
    for _ in range(MAX_ATTEMPTS):
        coordinator.begin(WorkKey(("brightness", "level", "paint"), "t", 0, "fr", 0))
    rows = run_groups(
        engine_config(),
        [("brightness", "level", "paint")],
        planned_row(footage / "a.mp4", tmp_path),
        tmp_path,
        coordinator,
    )
    assert [(r["segment_id"], bool(r["error"])) for r in rows] == [
        ("t/0/de/0", False),
        ("t/0/de/1", False),
        ("t/0/fr/0", True),
        ("t/0/fr/1", False),
    ]
    counts: dict[str, Any] = coordinator.snapshot()["stages"]
    assert counts["brightness"] | {"seconds": 0} == {"rows": 1, "frames": 8, "seconds": 0, "errors": 0}
    assert counts["paint"] | {"seconds": 0} == {"rows": 3, "frames": 12, "seconds": 0, "errors": 0}


def test_how_far_a_stage_is_within_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what the stage works on is halo: 12 frames of 24 are the row's 6."""
    monkeypatch.setattr(worker, "TICK_PERIOD", -1.0)
    coordinator = Coordinator()
    ticker = worker.Ticker(coordinator, "detect", 0.5)
    assert coordinator.snapshot()["working"] == {"detect": 1}
    for _ in range(12):
        ticker(1)
    assert coordinator.snapshot()["at"] == {"detect": 6.0}
    ticker.end()
    coordinator.stage_done("detect", 12, 0.1, False)
    found = coordinator.snapshot()
    assert (found["at"], found["working"], found["stages"]["detect"]["frames"]) == (
        {"detect": 0.0},
        {"detect": 0},
        12,
    )


def test_the_board_is_told_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TICK_PERIOD", 3600.0)
    coordinator = Coordinator()
    ticker = worker.Ticker(coordinator, "detect", 1.0)
    for _ in range(1000):
        ticker(1)
    ticker.end()
    assert coordinator.snapshot()["at"] == {}


def test_counted_frames_of_a_stage() -> None:
    (stage,) = Engine(engine_config()).stages[:1]
    heard: list[int] = []
    stage.stage.tick = heard.append
    assert list(stage.stage.counted("abc")) == ["a", "b", "c"]
    assert heard == [1, 1, 1]


@pytest.mark.parametrize("groups", [[("brightness", "level")], [("brightness",), ("level",)]], ids=str)
def test_each_person_of_a_row_has_its_own_columns(
    footage: Path, tmp_path: Path, groups: list[tuple[str, ...]]
) -> None:
    """Of three people in the picture two speak; the one who is named first comes first, and all have the row's frames."""
    row = planned_row(footage / "a.mp4", tmp_path, ("de",))
    (task,) = decode(list[DubTask], row["dubs"])
    speakers = [SpeakerTask(1, 2, "bob.wav"), SpeakerTask(2, 0, "anna.wav")]
    row["dubs"] = encode([dataclasses.replace(task, speakers=speakers)])
    boxes = [np.full(4, k, np.float32) for k in (1, 2)]
    row["others"] = tuple({**row, "dubs": "", "others": (), "anchor": box} for box in boxes)
    found = run_groups(engine_config(), groups, row, tmp_path)
    assert [one["segment_id"] for one in found] == ["t/0/de/0", "t/0/de/1"]
    for one in found:
        (other,) = one["others"]
        assert (one["speech"], one["speaker"], one["anchor"][0]) == ("bob.wav", 1, 2)
        assert (other["speech"], other["speaker"], len(other["others"])) == ("anna.wav", 2, 0)
        assert np.isnan(other["anchor"]).all()
        assert (other["source"] == one["source"]).all()
        assert other["level"].shape == one["level"].shape == one["source"].shape
        assert (one["gate"] == 1).all()
    row["dubs"] = encode([dataclasses.replace(task, speakers=[])])
    for one in run_groups(engine_config(), groups, row, tmp_path):
        assert not one["gate"].any()
        assert one["others"] == ()
