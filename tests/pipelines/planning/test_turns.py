"""``--face speaking`` in a row: only the person whose lips follow the source's sound is dubbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.faces.canonical import TEMPLATE
from operators.faces.geometry import eye_distance, lip_opening
from operators.media.audio import load_audio
from operators.media.mixing import write_mix
from operators.speech.predictor import predict_mouth
from operators.speech.sampling import sample_track
from pipelines.cli.speech_synthesis import speak
from pipelines.planning.fanout import fan_out
from pipelines.planning.plans import DubTask, OutputSegmentTask, SpeakerTask, encode
from pipelines.planning.turns import NOBODY_SPEAKS, SOUNDLESS, turns_in
from tests.pipelines.conftest import make_video

RATE = 25


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sound") / "s.wav"
    speak("Many people may buy a big apple, or bake a warm pie with plums, before Bob moves home.", path)
    return str(path)


def faces(opening: np.ndarray) -> dict[str, Any]:
    """Columns of a drawn face whose lips part by so many eye distances."""
    landmarks = np.tile(TEMPLATE, (len(opening), 1, 1)).astype(np.float32)
    landmarks[:, 60:68, 1] = landmarks[:, 60:68, 1].mean(1, keepdims=True)
    gap = opening * eye_distance(TEMPLATE)
    landmarks[:, [61, 62, 63], 1] -= (gap / 2)[:, None]
    landmarks[:, [65, 66, 67], 1] += (gap / 2)[:, None]
    assert lip_opening(landmarks) == pytest.approx(opening, abs=1e-3)
    return {"landmarks": landmarks, "valid": np.ones(len(opening), bool), "meta": ""}


def row_of(sound: str, people: list[dict[str, Any]], dub: DubTask | None = None) -> dict[str, Any]:
    count = len(people[0]["valid"])
    shared = {
        **{"kind": "segment", "error": "", "segment_id": "t/0", "segment": 0, "work": "w", "video": sound},
        **{
            "pts": np.arange(count),
            "out_origin": 0,
            "time_base_num": 1,
            "time_base_den": RATE,
            "halo_start": 0,
        },
    }
    first, *others = ({**shared, **one} for one in people)
    return {**first, "others": tuple(others), "dubs": encode([dub] if dub else [])}


@pytest.fixture(scope="module")
def people(sound: str) -> list[dict[str, Any]]:
    """Somebody whose mouth is shut where the voice is loud, and one who speaks."""
    samples = load_audio(sound)
    track = predict_mouth(samples)
    times = np.arange(int(len(samples) / 16000 * RATE)) / RATE
    opening = 0.1 + 0.04 * sample_track(track.opening, times)
    return [faces(np.maximum(one, 0.01)) for one in (0.24 - opening, opening)]


def test_new_words_go_to_the_mouth_that_had_the_old_ones(sound: str, people: list[dict[str, Any]]) -> None:
    count = len(people[0]["valid"])
    speakers = [SpeakerTask(0, 0, "new.wav"), SpeakerTask(0, 1, "new.wav")]
    part = OutputSegmentTask(0, "key", 0, 1, count, 0, offset=0)
    (made,) = fan_out(row_of(sound, people, DubTask("de", "new.wav", {}, [part], speakers, True)))
    (other,) = made["others"]
    assert not other["gate"].any()
    assert other["asked"].all(), "a frame in which somebody else speaks is inside the ranges"
    assert (made["gate"] == 1).mean() > 0.8
    assert made["landmarks"] is people[1]["landmarks"], "measures look at the mouth that speaks"
    (both,) = fan_out(row_of(sound, people, DubTask("de", "new.wav", {}, [part], speakers)))
    assert both["gate"].all()
    assert both["others"][0]["gate"].all()


def test_dubs_with_speakers_of_their_own_do_not_disturb_the_turns(
    sound: str, people: list[dict[str, Any]]
) -> None:
    """The person who speaks stands in the row once more, because another dub names them."""
    count = len(people[0]["valid"])
    part = OutputSegmentTask(0, "key", 0, 1, count, 0, offset=0)
    named = DubTask("en", "en.wav", {}, [part], [SpeakerTask(0, 0, "en.wav")])
    everybody = [SpeakerTask(0, 1, "new.wav"), SpeakerTask(0, 2, "new.wav")]
    speaking = DubTask("de", "new.wav", {}, [part], everybody, True)
    row = row_of(sound, [people[1], *people])
    first, second = fan_out({**row, "dubs": encode([named, speaking])})
    assert first["gate"].all()
    assert not first["meta"]
    assert (second["gate"] == 1).mean() > 0.8
    assert second["landmarks"] is people[1]["landmarks"]


def test_silence_and_voices_of_others_move_no_mouth(
    sound: str, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    row = row_of(sound, people[:1])
    turns, notes = turns_in(row, people[:1])
    assert not turns.any()
    assert notes
    silent = str(tmp_path / "silent.wav")
    write_mix(silent, [sound], None, [(900.0, 901.0)], 2.0)
    turns, notes = turns_in({**row, "video": silent}, people)
    assert not turns.any()
    assert notes == [NOBODY_SPEAKS]
    soundless = str(make_video(tmp_path / "soundless.mp4", frames=6, sound=False))
    turns, notes = turns_in({**row, "video": soundless}, people)
    assert not turns.any()
    assert notes == [SOUNDLESS]
