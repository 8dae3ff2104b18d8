"""Speakers of a dub in one segment: which of the people in the picture get which speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.manifest.titles import SPEAKING, Dub, Title
from pipelines.planning.plans import SpeakerTask
from pipelines.planning.shots import Looked

#: People of a shot who are listened for, at most: those with the largest faces.
MOST_SPEAKING = 4
#: A face that was asked for and where it is seen, float32[4].
Seen = tuple[str, np.ndarray]


def speakers_in(title: Title, dub: Dub, people: Sequence[Seen]) -> list[SpeakerTask] | None:
    """Return who is dubbed in a segment; None where the title has one face for all its dubs.

    Where two speakers' faces are the same person in this shot (a picture of Anna and "left"), the one that is named first
    speaks.

    Args:
        title: of the dub.
        dub: with its speakers.
        people: those who are seen, in the order of the row: its own, then its others.
    """
    if title.faces == (title.face,) and title.face != SPEAKING and not dub.speakers:
        return None
    if not dub.speakers and title.face == SPEAKING:
        return [SpeakerTask(0, k, dub.speech) for k, (name, _) in enumerate(people) if name == SPEAKING]
    asked = [(one.face, one.speech) for one in dub.speakers] or [(title.face, dub.speech)]
    found: list[SpeakerTask] = []
    for number, (face, speech) in enumerate(asked):
        person = next((k for k, (name, _) in enumerate(people) if name == face), None)
        if person is not None and not any(
            np.array_equal(people[person][1], people[other.person][1]) for other in found
        ):
            found.append(SpeakerTask(number, person, speech))
    return found


def shared_faces(dub: Dub, shots: Sequence[Sequence[Seen]]) -> list[str]:
    """Return a note on each two of a dub's speakers who are one person in some of the shots.

    Args:
        dub: with its speakers.
        shots: those who are seen in each (`people_in`).
    """
    notes = []
    boxes = [dict(people) for people in shots]
    for number, second in enumerate(dub.speakers):
        for first in dub.speakers[:number]:
            same = sum(
                first.face in seen
                and second.face in seen
                and np.array_equal(seen[first.face], seen[second.face])
                for seen in boxes
            )
            if same:
                notes.append(
                    f"{first.face} and {second.face} are the same person in {same} of {len(shots)} shots: there the mouth says "
                    f"{first.speech}, and {second.speech} moves none"
                )
    return notes


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
