"""Dubs that are beyond a threshold: kept, refused, or with the person's own mouth where they are bad."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.media.codec_names import Encoding, Preset
from operators.media.encoders import EncoderOptions
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import EncodedSegment, encode_segment
from operators.segment import Segment
from pipelines.engine.config import EngineConfig
from pipelines.errors import UsageError
from pipelines.execution.low_quality import clock, refusal_of
from pipelines.runner import Report, run
from pipelines.state.run_directory import RunDirectory
from pipelines.state.verdict import Reason
from tests.pipelines.conftest import STAGES, engine_config, profile_config
from tests.pipelines.stages import Paint
from tests.signatures import without_signature

HERE = "tests.pipelines.execution.test_low_quality"
#: Thresholds that no dub of the test engine stays within: in its brightest shot alone, and everywhere.
ONE_SHOT = {"review": {"mouth_change": 100}}
GOOD = {
    "review": {
        "mouth_change": 0,
        "seam": 1000,
        "color_step": 1000,
        "jitter": 1000,
        "sharpness": 0,
        "flicker": 1000,
    }
}


@dataclass(frozen=True)
class PaintedOptions(Encoding):
    """Options of `Painted`."""

    crf: float = 20
    preset: Preset = "ultrafast"
    log: str = ""
    wait: str = ""
    pause: float = 0.0


class Painted(Paint):
    """`Paint` that encodes as its options say, as the shipped engines do."""

    Options = PaintedOptions

    def encode(self, segment: Segment) -> EncodedSegment:
        encoder = EncoderOptions.of(self.options_for(segment))
        return encode_segment(
            segment["target"], self.shown(self._frames(segment)), probe_video(segment.video), encoder
        )


def engine(stage: str) -> EngineConfig:
    """The test engine with another last stage."""
    config = engine_config()
    last = config.stages[-1].model_copy(update={"stage": stage})
    return config.model_copy(update={"stages": [*config.stages[:-1], last]})


def go(
    footage: Path,
    folder: Path,
    policy: Any = "keep",
    options: Any = None,
    stage: str = f"{HERE}:Painted",
    **fields: Any,
) -> Report:
    """Dub a.mp4, which has two shots, with an engine that paints a corner."""
    row = {
        "id": "t",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "t.mp4",
    }
    return run(
        [row],
        run_dir=str(folder),
        engine=engine(stage),
        profile=profile_config(),
        runner="local",
        on_low_quality=policy,
        options=options,
        **fields,
    )


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.luma().astype(int) for frame in read_frames(str(path), 0, 24)]


def apart(one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """Largest difference of each two frames."""
    return np.array([np.abs(a - b).max() for a, b in zip(one, other, strict=True)])


def test_a_dub_beyond_a_threshold_is_kept_or_refused(footage: Path, tmp_path: Path) -> None:
    refused = go(footage, tmp_path, "fail", ONE_SHOT)
    (record,) = refused.failed
    assert "low quality: the mouth was hardly changed" in record["error"]
    assert "nothing is written" in record["error"]
    assert not (tmp_path / "t.mp4").exists()
    assert record["metrics"], "what was measured is in the ledger"
    kept = go(footage, tmp_path, "keep", ONE_SHOT)
    assert (kept.exit_code, kept.computed) == (0, 0), "its segments were there"
    assert kept.records[0]["verdict"] == "review"
    assert go(footage, tmp_path / "good", "fail", GOOD).records[0]["verdict"] == "ok"


def test_bad_shots_keep_their_own_mouth(footage: Path, tmp_path: Path) -> None:
    plain = go(footage, tmp_path / "plain", options=GOOD).records[0]
    shots = RunDirectory(str(tmp_path / "plain")).read_trace(plain)["shots"]  # type: ignore[index]
    changes = [shot["metrics"]["mouth_change"] for shot in shots]
    assert len(changes) == 2
    limit = sum(changes) / 2  # one of the two is below
    options = {"review": {**GOOD["review"], "mouth_change": limit}}
    report = go(footage, tmp_path / "own", "passthrough", options)
    (record,) = report.records
    assert (record["state"], record["verdict"]) == ("done", "review")
    bad = int(np.argmin(changes))
    assert [
        note for note in record["notes"] if "keeps its own mouth: the mouth was hardly changed" in note
    ] == [note for note in record["notes"] if note.startswith(clock(shots[bad]["start"]))]
    source, kept, own = (
        pictures(path)
        for path in (footage / "a.mp4", tmp_path / "plain" / "t.mp4", tmp_path / "own" / "t.mp4")
    )
    inside = np.zeros(24, bool)
    inside[round(12 * shots[bad]["start"]) : round(12 * shots[bad]["end"])] = True
    assert (apart(own, source)[inside] < apart(kept, source)[inside] / 2).all(), "the source's pictures"
    assert (apart(own, kept)[~inside] == 0).all(), "the other shot is the dub's"
    assert not list((tmp_path / "own" / "segments").rglob("*.own.mp4"))
    trace = RunDirectory(str(tmp_path / "own")).read_trace(record)
    assert trace is not None
    assert [(shot["state"], shot["reason"]) for shot in trace["shots"]] == [
        ("passed", "low quality") if number == bad else ("dubbed", None) for number in range(2)
    ]


def test_all_shots_keep_their_mouth_where_the_engine_does_not_say_how_it_encodes(
    footage: Path, tmp_path: Path
) -> None:
    plain = go(footage, tmp_path / "plain", options=GOOD).records[0]
    shots = RunDirectory(str(tmp_path / "plain")).read_trace(plain)["shots"]  # type: ignore[index]
    limit = sum(shot["metrics"]["mouth_change"] for shot in shots) / 2
    options = {"review": {**GOOD["review"], "mouth_change": limit}}
    (record,) = go(footage, tmp_path / "own", "passthrough", options, f"{STAGES}:Paint").records
    assert record["state"] == "done", record["error"]
    assert sum("keeps its own mouth" in note for note in record["notes"]) == 2
    assert apart(pictures(tmp_path / "own" / "t.mp4"), pictures(footage / "a.mp4")).max() < 30


def test_a_good_dub_is_the_same_whatever_is_done_with_bad_ones(footage: Path, tmp_path: Path) -> None:
    digests = set()
    for policy in ("keep", "passthrough", "fail"):
        go(footage, tmp_path / policy, policy, GOOD)
        digests.add(hashlib.sha256(without_signature(tmp_path / policy / "t.mp4")).hexdigest())
    assert len(digests) == 1


def test_wrong_thresholds_and_policies_are_told(footage: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="review: seem: unknown key, did you mean 'seam'"):
        go(footage, tmp_path, options={"review": {"seem": 1}})
    with pytest.raises(UsageError, match="review"):
        go(footage, tmp_path, options={"review": {"seam": "much"}})
    with pytest.raises(UsageError, match="choose keep, passthrough, fail"):
        go(footage, tmp_path, "drop")


def test_reasons_have_time_codes() -> None:
    assert [clock(value) for value in (0, 7.46, 61, 3723)] == ["0:00.0", "0:07.5", "1:01.0", "1:02:03.0"]
    error = str(refusal_of([Reason("soft", 7.5), Reason("late", None), *[Reason("x", 1.0)] * 3]))
    assert error.startswith("low quality: soft at 0:07.5; late; x at 0:01.0; and 2 more; nothing is written")
