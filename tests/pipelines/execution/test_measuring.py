"""Metrics of whole runs: a run that is taken up again has the values of one that was never interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from operators.evaluation.metric import FinishedDub, SegmentMetric, TitleMetric
from operators.media.frames import Frame
from operators.segment import Segment
from pipelines.runner import Report, run
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.conftest import engine_config, profile_config
from tests.signatures import without_signature

HERE = "tests.pipelines.execution.test_measuring"


class Corner(SegmentMetric):
    """Mean luma of what was drawn; notes the segments that it has measured."""

    name = "corner"
    per = "shot"
    better = "lower"
    every = 2
    measured: ClassVar[list[int]] = []

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        return float(frame.luma(frame.drawn).mean())

    def measure(self, segment: Segment, samples: np.ndarray) -> float:
        self.measured.append(int(segment["segment"]))
        return super().measure(segment, samples)


class Frames(TitleMetric):
    """Frames of the output."""

    name = "frames"

    def measure(self, dub: FinishedDub) -> float:
        return float(dub.frames)


@pytest.fixture(autouse=True)
def fresh() -> None:
    Corner.measured.clear()


def go(footage: Path, folder: Path, **fields: Any) -> Report:
    """Dub a.mp4 in four segments. The third fails as often as `folder`, beside the run directory, has no mark."""
    row = {
        "id": "t",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "t.mp4",
    }
    options = {"MisbehaveDub": {"fail": "t", "segment": 2, "times": 1, "folder": str(folder)}}
    engine = engine_config("MisbehaveDub", options=options, **fields)
    return run(
        [row],
        run_dir=str(folder / "run"),
        engine=engine,
        profile=profile_config(),
        runner="local",
        # The id of a mark depends on the options of the stages, which name the folder.
        watermark={"mode": "off"},
    )


def test_a_resumed_run_has_the_values_of_an_uninterrupted_one(footage: Path, tmp_path: Path) -> None:
    metrics = [f"{HERE}:Corner", f"{HERE}:Frames"]
    calm, broken = tmp_path / "calm", tmp_path / "broken"
    calm.mkdir()
    broken.mkdir()
    (calm / "mark-0").touch()
    (wanted,) = go(footage, calm, metrics=metrics).records
    assert sorted(Corner.measured) == [0, 1, 2, 3]
    values = {metric["name"]: metric["value"] for metric in wanted["metrics"]}
    assert values["frames"] == 24
    assert "corner" in values

    Corner.measured.clear()
    first = go(footage, broken, metrics=metrics)
    assert first.exit_code == 3
    assert sorted(Corner.measured) == [0, 1, 3]
    second = go(footage, broken, metrics=metrics)
    assert (second.exit_code, second.computed, second.reused) == (0, 1, 3)
    assert sorted(Corner.measured) == [0, 1, 2, 3], "finished segments are not measured again"
    assert second.records[0]["metrics"] == wanted["metrics"]
    calm_trace = RunDirectory(str(calm / "run")).read_trace(wanted)
    assert calm_trace is not None
    assert [shot["state"] for shot in calm_trace["shots"]] == ["dubbed", "dubbed"]
    interrupted = RunDirectory(str(broken / "run"))
    assert interrupted.read_trace(second.records[0]) == calm_trace
    assert interrupted.read_trace(wanted) is None, "a record of another output"


def test_without_metrics_nothing_is_measured_and_the_bytes_are_the_same(
    footage: Path, tmp_path: Path
) -> None:
    outputs = {}
    for name, metrics in (("with", [f"{HERE}:Corner"]), ("without", [])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mark-0").touch()
        (record,) = go(footage, folder, metrics=metrics).records
        assert bool(record["metrics"]) == bool(metrics)
        trace = RunDirectory(str(folder / "run")).read_trace(record)
        assert (trace is not None) == bool(metrics)
        outputs[name] = without_signature(folder / "run" / "t.mp4")
    assert outputs["with"] == outputs["without"]
    assert sorted(Corner.measured) == [0, 1, 2, 3]
