"""Nodes of different kinds: the same output segment has other bytes where a processor rounds otherwise; no
title is refused or broken by that.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.media.encoders import EncoderOptions
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.segment import Segment
from pipelines.engine.rows import Row
from pipelines.engine.specs import GroupSpec
from pipelines.execution.assembly import AssemblySpec, assemble_dub
from pipelines.execution.worker import Group
from pipelines.manifest.titles import Dub
from pipelines.planning.plans import DubPlan, OutputSegmentPlan, Receipt
from pipelines.state.coordinator import Coordinator
from pipelines.state.run_directory import OutputSegmentId, RunDirectory
from tests.pipelines import stages
from tests.pipelines.conftest import engine_config
from tests.pipelines.execution.test_worker import planned_row
from tests.pipelines.test_runner import catalogue, go

GROUP = ("brightness", "level", "paint")


def rounds_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the stages compute as on another kind of processor: one grey level more."""
    process = stages.Level.process

    def other(self: stages.Level, segment: Segment) -> dict[str, Any]:
        return {"level": np.minimum(process(self, segment)["level"], 254) + 1}

    monkeypatch.setattr(stages.Level, "process", other)


def worker(run: Path) -> Group:
    return Group(GroupSpec(engine_config(), GROUP, str(run)), Coordinator())


def dub_of(run: Path, footage: Path, rows: list[Row]) -> DubPlan:
    """A dub of the first output segment alone, as the driver knows it."""
    row = rows[0]
    dub = Dub("de", str(footage / "exact.wav"), str(run / "out.mp4"))
    segment = OutputSegmentPlan(OutputSegmentId.of(row), 0, row["frames"], Receipt.of(row))
    return DubPlan("t", str(footage / "a.mp4"), dub, "key", frames=row["frames"], output_segments=[segment])


def frames(path: Path) -> int:
    """Frames that can be decoded."""
    return sum(1 for _ in read_frames(str(path), 0, probe_video(str(path)).n_frames))


def test_a_title_begun_on_one_kind_of_processor_is_finished_on_another(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = {"folder": str(tmp_path), "times": 1, "fail": "plain", "segment": 2}
    again = functools.partial(
        go, catalogue(footage)[:1], tmp_path / "run", "MisbehaveDub", stage_options={"MisbehaveDub": fails}
    )
    first = again()
    assert (first.exit_code, first.computed) == (3, 3)
    rounds_otherwise(monkeypatch)
    second = again()
    assert (second.exit_code, second.computed, second.reused) == (0, 1, 3)
    assert frames(tmp_path / "run" / "plain.mp4") == probe_video(str(footage / "a.mp4")).n_frames


def test_an_output_segment_that_two_workers_make_at_once_is_committed_once(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is slow to commit: Ray has given its row to another worker, which is done before."""
    row, others = planned_row(footage / "a.mp4", tmp_path), list[Row]()
    slow, encode = worker(tmp_path), stages.Paint.encode

    def late(self: stages.Paint, segment: Segment) -> Any:
        written = encode(self, segment)
        if not others:
            monkeypatch.setattr(stages.Paint, "encode", encode)
            rounds_otherwise(monkeypatch)
            others.extend(worker(tmp_path).process(row))
        return written

    monkeypatch.setattr(stages.Paint, "encode", late)
    rows = list(slow.process(row))
    assert [r["error"] for r in rows + others] == [""] * 8
    committed = RunDirectory(str(tmp_path)).committed("t")
    assert (
        {r["sha256"] for r in rows}
        == {r["sha256"] for r in others}
        == {r["sha256"] for r in committed.values()}
    )


def test_an_output_segment_that_was_made_again_is_assembled_and_a_damaged_one_is_not(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, run = planned_row(footage / "a.mp4", tmp_path), RunDirectory(str(tmp_path))
    dub, spec = (
        dub_of(tmp_path, footage, list(worker(tmp_path).process(row))),
        AssemblySpec(str(tmp_path), "test", keep_segments=True),
    )
    (first,) = dub.receipts
    for which in run.committed("t"):
        (tmp_path / "receipts" / "t" / f"{which.name}.json").unlink()
    rounds_otherwise(monkeypatch)
    again = list(worker(tmp_path).process(row))
    assert first.sha256 not in {r["sha256"] for r in again}
    record = assemble_dub(dub, spec)
    assert (record["state"], record["error"]) == ("done", "")
    assert frames(tmp_path / "out.mp4") == dub.frames
    path = Path(first.path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    record = assemble_dub(dub, spec)
    assert record["state"] == "failed"
    assert "run again" in record["error"]
    assert path.stem not in [which.name for which in run.committed("t")]


def test_segments_of_unlike_encoders_are_encoded_anew_by_the_next_run(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = {"folder": str(tmp_path), "times": 1, "fail": "plain", "segment": 2}
    again = functools.partial(
        go, catalogue(footage)[:1], tmp_path / "run", "MisbehaveDub", stage_options={"MisbehaveDub": fails}
    )
    assert again().exit_code == 3
    monkeypatch.setattr(stages, "FAST", EncoderOptions(crf=30, preset="superfast"))
    second = again()
    assert second.exit_code == 3
    assert "encoded with other options" in second.records[0]["error"]
    assert "run again" in second.records[0]["error"]
    third = again()
    assert (third.exit_code, third.computed, third.reused) == (0, 4, 0)
    assert frames(tmp_path / "run" / "plain.mp4") == probe_video(str(footage / "a.mp4")).n_frames
