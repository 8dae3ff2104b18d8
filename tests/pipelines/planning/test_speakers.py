"""Speakers of a segment and their speeches."""

from __future__ import annotations

import numpy as np

from pipelines.manifest.titles import Dub, Speaker, Title
from pipelines.planning.plans import SpeakerTask
from pipelines.planning.shots import Looked
from pipelines.planning.speakers import identities_in, mouthless, shared_faces, speakers_in

ANNA, BOB = np.arange(4, dtype=np.float32), np.arange(4, 8, dtype=np.float32)
DUB = Dub("deu", "mix.wav", "o.mp4", speakers=(Speaker("anna.jpg", "anna.wav"), Speaker("left", "bob.wav")))
TITLE = Title("t", "v.mp4", (DUB, Dub("fra", "f.wav", "p.mp4")), face="right")


def test_each_face_has_its_speech() -> None:
    both = [("anna.jpg", ANNA), ("left", BOB), ("right", ANNA)]
    assert speakers_in(TITLE, DUB, both) == [SpeakerTask(0, 0, "anna.wav"), SpeakerTask(1, 1, "bob.wav")]
    assert speakers_in(TITLE, TITLE.dubs[1], both) == [SpeakerTask(0, 2, "f.wav")]


def test_who_is_not_in_the_shot_is_left_out() -> None:
    assert speakers_in(TITLE, DUB, [("left", BOB)]) == [SpeakerTask(1, 0, "bob.wav")]
    assert speakers_in(TITLE, DUB, []) == []
    assert speakers_in(TITLE, TITLE.dubs[1], [("left", BOB)]) == []


def test_one_face_speaks_once() -> None:
    assert speakers_in(TITLE, DUB, [("anna.jpg", ANNA), ("left", ANNA.copy())]) == [
        SpeakerTask(0, 0, "anna.wav")
    ]


def test_the_same_person_by_two_choices_is_a_note() -> None:
    both, one = [("anna.jpg", ANNA), ("left", BOB)], [("anna.jpg", ANNA), ("left", ANNA.copy())]
    assert shared_faces(DUB, [both, [], both], [2, 0, 2]) == []
    assert shared_faces(DUB, [both, one], [2, 2]) == [
        "anna.jpg and left are the same person in 1 of 2 shots: there the mouth says anna.wav, and bob.wav moves none"
    ]
    assert shared_faces(TITLE.dubs[1], [one], [2]) == []


def test_a_note_says_where_only_one_face_is_found() -> None:
    both, one = [("anna.jpg", ANNA), ("left", BOB)], [("anna.jpg", ANNA), ("left", ANNA.copy())]
    said = "there anna.jpg and left are the same person, whose mouth says anna.wav, and bob.wav moves none"
    assert shared_faces(DUB, [one], [1]) == [f"only one face is found in shot 1: {said}"]
    first, second = shared_faces(DUB, [one, both, one, one], [1, 2, 1, 3])
    assert first == f"only one face is found in 2 of 4 shots (1, 3): {said}"
    assert second.startswith("anna.jpg and left are the same person in 1 of 4 shots: ")
    (many,) = shared_faces(DUB, [one] * 9, [1] * 9)
    assert "9 of 9 shots (1, 2, 3, 4, 5, ...)" in many


def test_a_speaker_who_moves_no_mouth_is_a_doubt() -> None:
    both, one = [("anna.jpg", ANNA), ("left", BOB)], [("anna.jpg", ANNA), ("left", ANNA.copy())]
    assert mouthless(DUB, [both]) == []
    assert mouthless(DUB, [one, both]) == []
    assert mouthless(DUB, [one, []]) == ["bob.wav moves no mouth: left is the same person as anna.jpg"]
    assert mouthless(DUB, [[("left", BOB)]]) == ["anna.wav moves no mouth: anna.jpg is not seen"]
    assert mouthless(DUB, []) == [
        "anna.wav moves no mouth: anna.jpg is not seen",
        "bob.wav moves no mouth: left is not seen",
    ]
    assert mouthless(TITLE.dubs[1], [both]) == []


def test_a_title_with_one_face_is_as_ever() -> None:
    title = Title("t", "v.mp4", (TITLE.dubs[1],))
    assert speakers_in(title, title.dubs[0], [("largest", ANNA)]) is None


def test_those_who_may_speak_have_the_numbers_of_the_title() -> None:
    looked = Looked([(0, 9), (9, 20)], {}, [[(1, BOB), (0, ANNA)], [(-1, BOB), (-1, ANNA)]], [])
    title = Title("t", "v.mp4", (Dub("fra", "f.wav", "p.mp4"),), face="speaking")
    (dub,) = title.dubs
    people = [("speaking", BOB), ("speaking", ANNA)]
    found = [speakers_in(title, dub, people, identities_in(looked, shot, people)) or [] for shot in range(2)]
    assert [[one.identity for one in shot] for shot in found] == [[2, 1], [-1, -2]]
    assert identities_in(looked, 0, [("left", BOB + 100)]) == (0,)
