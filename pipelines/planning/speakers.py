"""Speakers of a dub in one segment: which of the people in the picture get which speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.manifest.titles import SPEAKING, Dub, Title
from pipelines.planning.plans import SpeakerTask
from pipelines.planning.shots import Looked

#: People of a shot who are listened for, at most: those with the largest faces.
MOST_SPEAKING = 4
#: Shots that a note names, at most.
NAMED_SHOTS = 5
#: A face that was asked for and where it is seen, float32[4].
Seen = tuple[str, np.ndarray]


def speakers_in(
    title: Title, dub: Dub, people: Sequence[Seen], identities: Sequence[int] = ()
) -> list[SpeakerTask] | None:
    """Return who is dubbed in a segment; None where the title has one face for all its dubs.

    Where two speakers' faces are the same person in this shot (a picture of Anna and "left"), the one that is named first
    speaks.

    Args:
        title: of the dub.
        dub: with its speakers.
        people: those who are seen, in the order of the row: its own, then its others.
        identities: of these people (`identities_in`); asked for where the dub is for whoever speaks.
    """
    if title.faces == (title.face,) and title.face != SPEAKING and not dub.speakers:
        return None
    if not dub.speakers and title.face == SPEAKING:
        return [
            SpeakerTask(0, k, dub.speech, identities[k] if identities else 0)
            for k, (name, _) in enumerate(people)
            if name == SPEAKING
        ]
    asked = [(one.face, one.speech) for one in dub.speakers] or [(title.face, dub.speech)]
    found: list[SpeakerTask] = []
    for number, (face, speech) in enumerate(asked):
        person = next((k for k, (name, _) in enumerate(people) if name == face), None)
        if person is not None and not any(
            np.array_equal(people[person][1], people[other.person][1]) for other in found
        ):
            found.append(SpeakerTask(number, person, speech))
    return found


def shared_faces(dub: Dub, shots: Sequence[Sequence[Seen]], faces: Sequence[int]) -> list[str]:
    """Return notes on each two of a dub's speakers who are one person in some of the shots.

    Args:
        dub: with its speakers.
        shots: those who are seen in each (`people_in`).
        faces: how many faces are found in each.
    """
    notes = []
    boxes = [dict(people) for people in shots]
    for number, second in enumerate(dub.speakers):
        for first in dub.speakers[:number]:
            same = [shot for shot, seen in enumerate(boxes) if _are_one(seen, first.face, second.face)]
            alone = [shot for shot in same if faces[shot] < 2]
            said = f"says {first.speech}, and {second.speech} moves none"
            if alone:
                notes.append(
                    f"only one face is found in {_told(alone, len(shots))}: there {first.face} and {second.face} are the same person, "
                    f"whose mouth {said}"
                )
            if among := len(same) - len(alone):
                notes.append(
                    f"{first.face} and {second.face} are the same person in {among} of {len(shots)} shots: there the mouth {said}"
                )
    return notes


def mouthless(dub: Dub, shots: Sequence[Sequence[Seen]]) -> list[str]:
    """Return why somebody should look at a dub: each of its speakers who moves no mouth in any of the shots.

    Args:
        dub: with its speakers.
        shots: those who are seen in each that is dubbed (`people_in`).
    """
    found = []
    boxes = [dict(people) for people in shots]
    for number, one in enumerate(dub.speakers):
        seen = [people for people in boxes if one.face in people]
        before = [
            {other.face for other in dub.speakers[:number] if _are_one(people, other.face, one.face)}
            for people in seen
        ]
        if all(before):
            same = [other.face for other in dub.speakers[:number] if any(other.face in met for met in before)]
            why = f"is the same person as {' and '.join(same)}" if seen else "is not seen"
            found.append(f"{one.speech} moves no mouth: {one.face} {why}")
    return found


def _are_one(seen: dict[str, np.ndarray], first: str, second: str) -> bool:
    """True where two choices mean the same of those who are seen in a shot."""
    return first in seen and second in seen and np.array_equal(seen[first], seen[second])


def _told(shots: Sequence[int], count: int) -> str:
    """Name some of a title's shots, counted from 1."""
    if len(shots) == 1:
        return f"shot {shots[0] + 1}"
    named = ", ".join(str(shot + 1) for shot in shots[:NAMED_SHOTS])
    return f"{len(shots)} of {count} shots ({named}{', ...' if len(shots) > NAMED_SHOTS else ''})"


def people_in(looked: Looked, shot: int) -> tuple[Seen, ...]:
    """Return those who are asked for and seen in a shot; for ``speaking`` all of the shot, left to right."""
    found: list[Seen] = []
    for face, anchors in looked.anchors.items():
        if face == SPEAKING:
            boxes = [box for _, box in looked.people[shot]]
            kept = sorted(range(len(boxes)), key=lambda k: -float(boxes[k][2] - boxes[k][0]))[:MOST_SPEAKING]
            found += [(face, boxes[k]) for k in sorted(kept)]
        elif (anchor := anchors[shot]) is not None:
            found.append((face, anchor))
    return tuple(found)


def identities_in(looked: Looked, shot: int, people: Sequence[Seen]) -> tuple[int, ...]:
    """Return the identity of each of a shot's people as `operators.segment.Segment.person` counts: from 1 on; for those who were
    not recognised minus their place, from the left.
    """
    known = looked.people[shot]

    def identity(box: np.ndarray) -> int:
        place = next((k for k, (_, other) in enumerate(known) if np.array_equal(box, other)), None)
        if place is None:
            return 0
        return known[place][0] + 1 if known[place][0] >= 0 else -(place + 1)

    return tuple(identity(box) for _, box in people)
