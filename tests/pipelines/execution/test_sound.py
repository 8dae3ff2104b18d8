"""The sound of a dub: its speech, the sum of its speakers, and the source's own outside its ranges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.media.audio import audio_blocks
from pipelines.execution.sound import sound_of
from pipelines.manifest.titles import Dub, Speaker
from pipelines.planning.plans import DubPlan
from pipelines.runner import run
from tests.pipelines.conftest import engine_config, make_speech, profile_config

RATE = 48000


def read(url: str) -> np.ndarray:
    return np.concatenate([block.mean(0) for block, _ in audio_blocks(url, RATE)])


def plan(footage: Path, **fields: object) -> DubPlan:
    return DubPlan("t", str(footage / "a.mp4"), Dub("dub", str(footage / "exact.wav"), "o.mp4", **fields))  # type: ignore[arg-type]


def test_a_lone_speech_is_its_own_sound(footage: Path) -> None:
    speakers = (Speaker("left", "l.wav"), Speaker("right", "r.wav"))
    for dub in (
        plan(footage),
        plan(footage, speakers=speakers),
        plan(footage, ranges=(("0", "1"),), audio="keep"),
    ):
        with sound_of(dub) as sound:
            assert sound == dub.dub.speech


def test_what_speakers_say_is_added_up(footage: Path, tmp_path: Path) -> None:
    other = str(make_speech(tmp_path / "other.wav", 1.0, 0.2))
    speakers = (Speaker("left", str(footage / "exact.wav")), Speaker("right", other))
    with sound_of(plan(footage, speakers=speakers, mixed=True)) as sound:
        total, one, two = (read(url) for url in (sound, str(footage / "exact.wav"), other))
    assert not Path(sound).exists()
    one[: len(two)] += two
    assert total == pytest.approx(one, abs=1e-3)


def test_outside_the_ranges_the_source_is_heard(footage: Path) -> None:
    dub = plan(footage, ranges=(("0.5", "1.25"),))
    with sound_of(dub) as sound:
        total, speech, source = (read(url) for url in (sound, dub.dub.speech, dub.video))
    inside, outside = np.s_[RATE * 6 // 10 : RATE * 12 // 10], np.s_[RATE * 14 // 10 : RATE * 19 // 10]
    assert total[inside] == pytest.approx(speech[inside], abs=1e-3)
    assert total[outside] == pytest.approx(source[outside], abs=1e-3)
    assert np.abs(speech[outside] - source[outside]).max() > 0.05


def test_the_output_plays_it_and_nothing_is_left_behind(footage: Path, tmp_path: Path) -> None:
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": str(tmp_path / "a.mp4"),
        "ranges": "0.5-1.25",
    }
    report = run(
        [row],
        run_dir=str(tmp_path / "run"),
        engine=engine_config(),
        profile=profile_config(),
        runner="local",
        watermark={"mode": "off"},
    )
    assert [record["error"] for record in report.records] == [""]
    heard, source, speech = (read(url) for url in (row["output"], row["video"], row["speech"]))
    for span, expected in (
        (np.s_[RATE * 7 // 10 : RATE * 11 // 10], speech),
        (np.s_[RATE * 15 // 10 : RATE * 18 // 10], source),
    ):
        assert np.corrcoef(heard[span], expected[span])[0, 1] > 0.98
    assert not list((tmp_path / "run").rglob("*.wav"))
