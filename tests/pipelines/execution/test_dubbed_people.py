"""Names of those who were dubbed: every speaker of a dub, or those whom ``--face speaking`` has found."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.execution.dubbed_people import named_trace, seconds_dubbed, whole_notes, without
from pipelines.manifest.titles import Dub, Speaker
from pipelines.planning.plans import DubPlan
from pipelines.planning.turns import NOBODY_SPEAKS, THROUGHOUT, UNSURE

SPEAKERS = (Speaker("https://a.example/anna.jpg?token=secret", "anna.wav"), Speaker("left", "bob.wav"))


def person(speaker: int, number: int, *spans: list[float]) -> dict[str, Any]:
    return {
        "speaker": speaker,
        "person": number,
        "dubbed": list(spans),
        "mouths": [[0.0, 0.1, 0.1, 0.2, 0.2]],
    }


def plan(face: Any, speakers: tuple[Speaker, ...] = ()) -> DubPlan:
    return DubPlan(
        "t", "v.mp4", Dub("deu", "mix.wav", "o.mp4", speakers=speakers), ingredients={"face": face}
    )


def test_a_speaker_who_is_never_seen_is_named_with_nothing() -> None:
    trace = {"people": [person(1, 0, [0.0, 1.5], [2.0, 2.5])], "shots": [{"people": [0]}]}
    named_trace(trace, plan([["anna.jpg", 9, ""], "left"], SPEAKERS))
    anna, left = seconds_dubbed(trace["people"])
    assert (anna["speech"], anna["seconds"]) == ("anna.wav", 0)
    assert "anna.jpg" in anna["name"]
    assert "secret" not in anna["name"]
    assert left == {"name": "left", "speech": "bob.wav", "seconds": 2.0}
    assert trace["shots"] == [{"people": [1]}], "whose mouth was measured"


@pytest.mark.parametrize(
    ("face", "number", "name"),
    [
        ("speaking", 2, "person 2"),
        ("speaking", -1, "face 1 from the left"),
        ("right", 0, "right"),
        (["faces/anna.jpg", 900, "2026"], 0, "faces/anna.jpg"),
    ],
)
def test_others_are_named_by_what_was_asked_for(face: Any, number: int, name: str) -> None:
    trace: dict[str, Any] = {"people": [person(0, number, [0.0, 1.0])], "shots": []}
    named_trace(trace, plan(face))
    assert seconds_dubbed(trace["people"]) == [{"name": name, "speech": "mix.wav", "seconds": 1.0}]


def test_what_keeps_its_own_mouth_in_the_end_is_taken_off() -> None:
    assert without([[0.0, 2.0], [3.0, 4.0]], 1.0, 3.5) == [[0.0, 1.0], [3.5, 4.0]]
    assert without([[0.0, 2.0]], 0.5, 1.0) == [[0.0, 0.5], [1.0, 2.0]]
    assert without([[0.0, 2.0]], 0.0, 2.0) == []


def test_places_are_not_spoken_of_where_it_is_so_throughout() -> None:
    passed, dubbed = {"state": "passed"}, {"state": "dubbed"}
    assert whole_notes(["a", NOBODY_SPEAKS], {"shots": [passed]}) == ["a", THROUGHOUT[NOBODY_SPEAKS]]
    assert whole_notes([NOBODY_SPEAKS], {"shots": [passed, dubbed]}) == [NOBODY_SPEAKS]
    both = [NOBODY_SPEAKS, UNSURE]
    assert whole_notes(both, {"shots": [passed]}) == both, "each is so in places"
