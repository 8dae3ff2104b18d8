"""Speeches of a dub: which may be silent, and what is said of their lengths."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import pytest

from operators.media.probe import probe_video
from operators.storage.errors import SilentAudioError
from pipelines.manifest.titles import Dub, Speaker
from pipelines.planning.speech import length_notes, mix_doubt, speeches_of
from tests.pipelines.conftest import make_speech


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("speech")
    lengths = {"anna": (2.0, 0.3), "bob": (0.5, 0.3), "silent": (1.0, 0.0), "mix": (3.0, 0.3)}
    return {name: str(make_speech(folder / f"{name}.wav", *values)) for name, values in lengths.items()}


def dub_of(sounds: dict[str, str], anna: str, bob: str, mix: str = "") -> Dub:
    speakers = (Speaker("anna.jpg", sounds[anna]), Speaker("left", sounds[bob]))
    heard = sounds[mix or anna]
    return Dub("dub", heard, "o.mp4", speakers=speakers, mixed=not mix)


@pytest.mark.parametrize("order", [("anna", "silent"), ("silent", "anna")])
def test_the_stem_of_a_listener_may_be_silent(sounds: dict[str, str], order: tuple[str, str]) -> None:
    found = speeches_of(dub_of(sounds, *order))
    assert found.seconds == Fraction(2)
    face = ("anna.jpg", "left")[order.index("silent")]
    assert found.notes == [f"{sounds['silent']}: the stem of {face} is silent throughout: that mouth rests"]


def test_stems_may_be_silent_where_the_mix_is_heard(sounds: dict[str, str]) -> None:
    found = speeches_of(dub_of(sounds, "silent", "silent", "mix"))
    assert found.seconds == Fraction(3)
    assert len(found.notes) == 2


def test_what_is_heard_may_be_shorter_than_a_stem(sounds: dict[str, str]) -> None:
    for mix, seconds in (("bob", Fraction(1, 2)), ("mix", Fraction(3)), ("", Fraction(2))):
        found = speeches_of(dub_of(sounds, "anna", "bob", mix))
        assert (found.seconds, found.heard) == (max(seconds, Fraction(2)), seconds)


def test_something_must_be_heard(sounds: dict[str, str]) -> None:
    with pytest.raises(SilentAudioError, match="the stems of all speakers are silent throughout"):
        speeches_of(dub_of(sounds, "silent", "silent"))
    with pytest.raises(SilentAudioError, match=r"silent\.wav: the audio is silent throughout"):
        speeches_of(dub_of(sounds, "anna", "bob", "silent"))
    alone = dub_of(sounds, "silent", "anna")
    with pytest.raises(SilentAudioError, match=r"silent\.wav: the audio is silent throughout"):
        speeches_of(dataclasses.replace(alone, speakers=(), mixed=False))


def test_notes_on_lengths_name_the_speech(footage: Path, sounds: dict[str, str]) -> None:
    info = probe_video(str(footage / "a.mp4"))  # two seconds
    assert info.duration == 2
    dub = dub_of(sounds, "anna", "bob", "mix")
    cut, early = length_notes(dub, speeches_of(dub), info)
    assert cut == (
        f"the mix {sounds['mix']} is 1.0 s longer than the video and is cut; length freeze, loop or pingpong keeps all of it"
    )
    assert early.startswith(f"the stem {sounds['bob']} of left ends 1.5 s before the output")
    ranged = dataclasses.replace(dub, ranges=(("0", "1"),))
    assert length_notes(ranged, speeches_of(ranged), info)[0].endswith("longer than the video and is cut")
    alone = Dub("dub", sounds["mix"], "o.mp4")
    assert length_notes(alone, speeches_of(alone), info)[0].startswith("the speech is 1.0 s longer")


def test_a_mix_that_ends_early_is_a_note_and_a_doubt_where_mouths_go_on(
    footage: Path, sounds: dict[str, str]
) -> None:
    info = probe_video(str(footage / "a.mp4"))  # two seconds
    dub = dub_of(sounds, "anna", "silent", "bob")
    short, stem = length_notes(dub, speeches_of(dub), info)
    assert short == (
        f"the mix {sounds['bob']} ends 1.5 s before the output; from there nothing is heard of the speakers"
    )
    assert stem.startswith(f"the stem {sounds['silent']} of left ends 1.0 s before the output")
    assert mix_doubt(dub, speeches_of(dub), info) == (
        f"the mix {sounds['bob']} ends 1.5 s before the stem {sounds['anna']} of anna.jpg: that mouth goes on in silence"
    )
    trimmed = dataclasses.replace(dub, length="trim")
    assert "ends 1.5 s before the stem" in mix_doubt(trimmed, speeches_of(trimmed), info)
    # What is not heard, or longer than the video alone, leaves no mouth in silence.
    kept = dataclasses.replace(dub, audio="keep")
    assert mix_doubt(kept, speeches_of(kept), info) == ""
    for other in (dub_of(sounds, "anna", "bob", "mix"), dub_of(sounds, "anna", "bob")):
        assert mix_doubt(other, speeches_of(other), info) == ""
    # A stem that is silent moves no mouth, however long it is.
    for quiet in (dub_of(sounds, "silent", "silent", "bob"), dub_of(sounds, "bob", "silent", "bob")):
        assert mix_doubt(quiet, speeches_of(quiet), info) == ""
    both = dub_of(sounds, "anna", "anna", "bob")
    assert mix_doubt(both, speeches_of(both), info).endswith(
        "of anna.jpg and left: those mouths go on in silence"
    )
    still = dub_of(sounds, "mix", "bob", "anna")  # the stem is cut where the video and the mix end
    assert mix_doubt(still, speeches_of(still), info) == ""
