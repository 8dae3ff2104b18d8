"""Dubs that are broken on purpose are to be reviewed for the right reason, and one that is not is ok."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from benchmarks.broken import BREAKS, breaking
from benchmarks.review import names_fault
from operators.media.reader import read_frames
from pipelines.cli.speech_synthesis import speak
from pipelines.runner import run
from pipelines.state.run_directory import Record, RunDirectory
from pipelines.state.verdict import judge

FRAMES, SIZE = 110, (352, 288)
TEXT = "Bob may buy a big apple. We saw how the people moved about, and we laughed."


@pytest.fixture(scope="module")
def talk(carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with talk.mp4 (carphone at twice its size), talk.wav, and other.png, another person's face."""
    skimage = pytest.importorskip(
        "skimage.data", reason="the package scikit-image is not installed (extra demo)"
    )
    folder = tmp_path_factory.mktemp("talk")
    with av.open(str(folder / "talk.mp4"), "w") as container:
        options = {"preset": "superfast", "crf": "12"}
        stream = container.add_stream("libx264", rate=30, pix_fmt="yuv420p", options=options)
        stream.width, stream.height = SIZE
        for frame in read_frames(str(carphone), 0, FRAMES):
            image = cv2.resize(frame.rgb(), SIZE, interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    speak(TEXT, folder / "talk.wav", words_per_minute=170)
    other = np.ascontiguousarray(skimage.astronaut()[:300, 60:380, ::-1])
    cv2.imwrite(str(folder / "other.png"), other)
    return folder


def dubbed(talk: Path, folder: Path, options: dict[str, dict[str, Any]] | None = None) -> Record:
    row = {"id": "t", "video": str(talk / "talk.mp4"), "speech": str(talk / "talk.wav"), "output": "t.mp4"}
    report = run(
        [row],
        run_dir=str(folder),
        engine=breaking(str(talk / "other.png")),
        options=options,
        runner="local",
        cache=str(talk / "analysis"),
    )
    (record,) = report.records
    assert record["state"] == "done", record["error"]
    return record


def test_a_dub_that_was_not_broken_is_ok(talk: Path, tmp_path: Path) -> None:
    record = dubbed(talk, tmp_path)
    assert judge(record) == ("ok", [])
    assert (record["verdict"], record["reasons"]) == ("ok", [])
    values = {metric["name"]: metric["value"] for metric in record["metrics"]}
    assert values["sync_r"] > 0.4
    assert values["sync_lag"] == 0
    assert values["identity_gap"] < 0.3
    assert -40 < values["loudness"] < -5
    trace = RunDirectory(str(tmp_path)).read_trace(record)
    assert trace is not None
    (shot,) = trace["shots"]
    assert shot["state"] == "dubbed"
    assert {"sync_r", "seam", "color_step", "flicker", "identity_gap"} <= set(shot["metrics"])
    known = [value for value in trace["opening"]["dub"] if value is not None]
    assert len(known) > 0.8 * len(trace["loudness"])


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_dub_is_to_be_reviewed_for_its_fault(talk: Path, tmp_path: Path, name: str) -> None:
    record = dubbed(talk, tmp_path, BREAKS[name])
    assert record["verdict"] == "review"
    assert names_fault(record, name), record["reasons"]
