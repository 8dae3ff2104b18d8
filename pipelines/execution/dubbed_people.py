"""People who were dubbed in a dub, by name: for its trace, its record and its notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from operators.storage.redact import redact
from pipelines.planning.plans import DubPlan
from pipelines.planning.turns import THROUGHOUT

People = Sequence[Mapping[str, Any]]


def name_people(people: People, dub: DubPlan) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Name the people of a dub.

    Args:
        people: `operators.evaluation.trace.people_of`.
        dub: as planned.

    Returns:
        ``name``, ``speech``, ``dubbed`` and ``mouths`` of each: of a dub with `speakers` all of them in their order, those who are never
        seen with nothing; of others those who are seen. And the new number of each of ``people``.
    """
    asked = dub.dub.speakers
    found: list[dict[str, Any]] = [
        {"name": redact(one.face), "speech": redact(one.speech), "dubbed": [], "mouths": []} for one in asked
    ]
    numbers = {}
    for number, one in enumerate(people):
        parts = {name: one[name] for name in ("dubbed", "mouths")}
        if asked:
            numbers[number] = one["speaker"]
            found[one["speaker"]].update(parts)
        else:
            numbers[number] = len(found)
            said = {"name": redact(_name(one["person"], dub)), "speech": redact(dub.dub.speech)}
            found.append({**said, **parts})
    return found, numbers


def _name(person: int, dub: DubPlan) -> str:
    """Name of one who is dubbed with the dub's only speech."""
    if person:
        return f"person {person}" if person > 0 else f"face {-person} from the left"
    face = dub.ingredients.get("face", "")
    return face if isinstance(face, str) else str(face[0])  # a picture, by its URL


def named_trace(trace: dict[str, Any], dub: DubPlan) -> None:
    """Give the people of a dub's trace (`operators.evaluation.trace`) their names."""
    trace["people"], numbers = name_people(trace["people"], dub)
    for shot in trace["shots"]:
        shot["people"] = [numbers[number] for number in shot["people"]]


def seconds_dubbed(people: People) -> list[dict[str, Any]]:
    """Return the ledger's column ``people`` (`pipelines.state.ledger.PERSON`)."""
    return [
        {
            **{name: one[name] for name in ("name", "speech")},
            "seconds": round(sum(end - start for start, end in one["dubbed"]), 3),
        }
        for one in people
    ]


def without(spans: Sequence[Sequence[float]], start: float, end: float) -> list[list[float]]:
    """Return stretches [start, end] without what lies in another one."""
    parts = [part for a, b in spans for part in ([a, min(b, start)], [max(a, end), b])]
    return [part for part in parts if part[1] > part[0]]


def whole_notes(notes: Sequence[str], trace: Mapping[str, Any]) -> list[str]:
    """Return notes that speak of places (`pipelines.planning.turns`) so that they say that it is so throughout, where nobody was
    dubbed and only one of them is there.

    Args:
        notes: of a dub.
        trace: of it.
    """
    local = [note for note in notes if note in THROUGHOUT]
    if len(local) != 1 or any(shot["state"] == "dubbed" for shot in trace["shots"]):
        return list(notes)
    return [THROUGHOUT.get(note, note) for note in notes]
