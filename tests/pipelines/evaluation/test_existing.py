"""Scoring of videos that exist, on Ray and in this process: records, resume, a clip that kills its worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from operators.evaluation.metric import FinishedDub, TitleMetric
from operators.media.probe import probe_video
from pipelines.evaluation.existing import Clip, ScoringSpec, score_existing
from pipelines.monitoring.progress import Progress
from pipelines.state.lock import LockedError, RunLock
from pipelines.state.run_directory import Record, RunDirectory
from tests.pipelines.conftest import make_video, profile_config

HERE = "tests.pipelines.evaluation.test_existing"


class Frames(TitleMetric):
    """Frames of the output; the process ends where the file is called killer."""

    name = "frames"

    def __init__(self, times: str = "1") -> None:
        self._times = int(times)

    def measure(self, dub: FinishedDub) -> float:
        if "killer" in dub.output:
            os._exit(1)
        return float(self._times * probe_video(dub.output).n_frames)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    made = []
    for name, frames in (("a", 5), ("b", 7), ("killer", 3)):
        video = str(make_video(tmp_path / f"{name}.mp4", frames=frames))
        made.append(Clip(name, video, video, video))
    return [*made, Clip("gone", "", "", str(tmp_path / "gone.mp4"))]


def scored(
    clips: list[Clip], folder: Path, runner: Any, places: tuple[str, ...] = (f"{HERE}:Frames",)
) -> list[Record]:
    told: list[Record] = []
    spec = ScoringSpec(str(folder), "theirs", places, False, "")
    with Progress(None) as shown:
        records = score_existing(clips, spec, profile_config(1), runner, shown, told.append)
    assert sorted(record["title"] for record in told) == sorted(clip.id for clip in clips)
    return records


def values(records: list[Record]) -> dict[str, float | None]:
    return {r["title"]: next((m["value"] for m in r["metrics"]), None) for r in records}


def test_on_ray_a_clip_that_kills_its_worker_is_a_failure_and_the_others_are_scored(
    clips: list[Clip], tmp_path: Path, ray_session: Any
) -> None:
    records = scored(clips, tmp_path / "run", "ray")
    assert values(records) == {"a": 5, "b": 7, "killer": None, "gone": None}
    errors = {record["title"]: record["error"] for record in records if record["state"] == "failed"}
    assert sorted(errors) == ["gone", "killer"]
    assert "killed its worker: is the file damaged?" in errors["killer"]
    assert "no such file" in errors["gone"]
    assert {r["title"] for r in RunDirectory(str(tmp_path / "run")).records()} == {clip.id for clip in clips}
    here = scored(clips[:2], tmp_path / "here", "local")
    assert values(here) == values(records[:2])


def test_what_is_scored_is_not_scored_again_unless_its_file_or_the_metrics_change(
    clips: list[Clip], tmp_path: Path
) -> None:
    some = clips[:2]

    def again(places: tuple[str, ...] = (f"{HERE}:Frames",)) -> list[Record]:
        return scored(some, tmp_path / "run", "local", places)

    first = again()
    record = tmp_path / "run" / "records" / "a" / "dub.json"
    written = record.stat().st_mtime_ns
    assert again() == first
    assert record.stat().st_mtime_ns == written
    make_video(Path(some[0].output), frames=6)
    assert values(again()) == {"a": 6, "b": 7}
    assert record.stat().st_mtime_ns != written
    assert values(again((f"{HERE}:Frames?times=2",))) == {"a": 12, "b": 14}


def test_one_command_at_a_time(clips: list[Clip], tmp_path: Path) -> None:
    with RunLock(str(tmp_path / "run")), pytest.raises(LockedError):
        scored(clips[:1], tmp_path / "run", "local")
