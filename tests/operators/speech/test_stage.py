"""Stage `speak`: the columns it promises, at the frames it is asked for."""

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.columns import check_columns
from operators.media.audio import load_audio
from operators.segment import Segment
from operators.speech.predictor import predict_mouth
from operators.speech.sampling import sample_track
from operators.speech.stage import Speak
from operators.storage.errors import MediaError
from tests.operators.speech.espeak import speak

TEXT = "My mother made a map of the moon, and she showed it to everybody."
ORIGIN = 900


def write_wav(path: Path, samples: np.ndarray) -> str:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return str(path)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return speak(TEXT).samples


@pytest.fixture(scope="module")
def speech(samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", samples)


def segment(speech: str, seconds: np.ndarray, **overrides: Any) -> Segment:
    """A row whose output frames are shown at these seconds of the speech; the title's first frame has the
    timestamp `ORIGIN`.
    """
    pts = np.round(np.asarray(seconds) * 90000).astype(np.int64) + ORIGIN
    options = json.dumps({"speak": overrides}) if overrides else ""
    row = {
        "speech": speech,
        "out_pts": pts,
        "out_origin": ORIGIN,
        "time_base_num": 1,
        "time_base_den": 90000,
        "options": options,
    }
    return Segment(row)


def run(stage: Speak, row: Segment) -> dict[str, Any]:
    columns = stage.process(row)
    check_columns("speak", Speak.writes, columns, {"N": len(row.out_pts)})
    return columns


def test_columns_are_the_track_at_the_frames(speech: str, samples: np.ndarray) -> None:
    times = np.arange(0, len(samples) / 16000, 1 / 25)
    columns = run(Speak(), segment(speech, times))
    track = predict_mouth(np.round(samples * 32767).astype(np.int16))
    for name, values in (
        ("opening", track.opening),
        ("mouth_width", track.width),
        ("closure", track.closure),
        ("silence", track.silence),
    ):
        np.testing.assert_allclose(
            columns[name][1:-1], sample_track(values, times)[1:-1], atol=0.01, err_msg=name
        )
    assert columns["opening"].std() == pytest.approx(1, abs=0.25)
    assert (columns["strength"] == 1).all()


def test_variable_frame_rate(speech: str, samples: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.07, 60))
    regular = np.arange(0, 4, 0.01)
    fine = run(Speak(), segment(speech, regular))["opening"]
    coarse = run(Speak(), segment(speech, times))["opening"]
    assert np.corrcoef(coarse, np.interp(times, regular, fine))[0, 1] > 0.98


def test_pieces_of_one_title_agree(speech: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.arange(100) / 25
    stage = Speak()
    read: list[str] = []
    monkeypatch.setattr(
        "operators.speech.stage.load_audio", lambda url, rate: read.append(url) or load_audio(url, rate)
    )
    speech = str(shutil.copy(speech, tmp_path))
    whole = run(stage, segment(speech, times))
    parts = [run(stage, segment(speech, times[a:b])) for a, b in ((0, 37), (37, 38), (38, 100))]
    for name, values in whole.items():
        np.testing.assert_allclose(
            np.concatenate([part[name] for part in parts]), values, atol=1e-5, err_msg=name
        )
    assert read == [speech], "the speech was predicted again for another piece"


def test_after_the_speech_the_frame_keeps_its_own_mouth(speech: str, samples: np.ndarray) -> None:
    end = len(samples) / 16000
    times = np.arange(-10, round(end * 25) + 25) / 25
    columns = run(Speak(), segment(speech, times))
    assert (columns["strength"][(times >= 0) & (times <= end)] == 1).all()
    assert (columns["strength"][(times > end + 0.2) | (times < -0.2)] == 0).all()
    assert (columns["silence"][times > end + 0.1] == 1).all()
    assert (columns["closure"][times > end + 0.1] == 0).all()


def test_options_of_the_title_override_the_engine(speech: str) -> None:
    times = np.arange(80) / 25
    plain = run(Speak(), segment(speech, times))["opening"]
    late = run(Speak(), segment(speech, times, lag=0.08))["opening"]
    np.testing.assert_allclose(late[2:], plain[:-2], atol=1e-5)
    early = run(Speak(Speak.Options(lag=-0.08)), segment(speech, times))["opening"]
    np.testing.assert_allclose(early[:-2], plain[2:], atol=1e-5)
    bands = run(Speak(), segment(speech, times, phones="off"))
    assert bands["closure"].max() == 0
    assert np.abs(bands["opening"] - plain).max() > 0.3
    with pytest.raises(ValueError, match="closure"):
        Speak().process(segment(speech, times, closure=1.5))
    with pytest.raises(ValueError, match="phones"):
        Speak().process(segment(speech, times, phones="maybe"))


@pytest.mark.parametrize("level", [0.0, 5e-4])
def test_the_mouth_of_a_silent_stem_rests(tmp_path: Path, speech: str, level: float) -> None:
    times = np.arange(25) / 25
    noise = level * np.random.default_rng(0).uniform(-1, 1, 16000)
    columns = run(Speak(), segment(write_wav(tmp_path / "silent.wav", noise), times))
    assert (columns["silence"] == 1).all()
    assert (columns["strength"] == 1).all()
    assert not columns["closure"].any()
    assert not columns["mouth_width"].any()
    # As closed as between the words of a speaker, or more.
    assert np.ptp(columns["opening"]) == 0
    assert columns["opening"][0] <= np.percentile(
        run(Speak(), segment(speech, np.arange(80) / 25))["opening"], 20
    )


def test_files_without_speech_are_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"absent\.wav"):
        Speak().process(segment(str(tmp_path / "absent.wav"), np.arange(10) / 25))
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(MediaError, match=r"text\.wav"):
        Speak().process(segment(str(tmp_path / "text.wav"), np.arange(10) / 25))


def test_a_video_with_sound_is_speech_too(clips: Path | None, speech: str, tmp_path: Path) -> None:
    if clips is not None:
        url, still = str(clips / "vr_face3.mp4"), str(clips / "tricky" / "no_audio.mp4")
        columns = run(Speak(), segment(url, np.arange(125) / 25))
        assert columns["opening"].std() == pytest.approx(1, abs=0.25)
        with pytest.raises(MediaError, match="no audio"):
            Speak().process(segment(still, np.arange(10) / 25))
    # Two channels, one of them silent, are the same speech.
    with wave.open(speech) as source:
        mono = np.frombuffer(source.readframes(source.getnframes()), "<i2")
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(np.stack([mono, np.zeros_like(mono)], axis=1).tobytes())
    times = np.arange(80) / 25
    left_only = run(Speak(), segment(str(tmp_path / "stereo.wav"), times))["opening"]
    assert np.corrcoef(left_only, run(Speak(), segment(speech, times))["opening"])[0, 1] > 0.95
