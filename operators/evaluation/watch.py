"""Record of a dub's mouth while the last stage draws it: how far it is open in the source's picture and in the drawn one,
which frames kept their own mouth, and why.

The numbers travel with the receipt of the output segment; `operators.evaluation.trace` makes a dub's trace of them. The
drawn mouth is measured on the drawn pixels, about 8 times a second.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from operators.evaluation.mouth_probe import FaceSight, MouthProbe
from operators.evaluation.people_record import PeopleRecord
from operators.faces.geometry import eye_distance, head_pose
from operators.faces.validity import COVERED_MOUTH, FAULTS, NO_FACE
from operators.media.frames import Frame
from operators.numeric.masks import runs
from operators.segment import Segment

#: Mouths that are measured a second, about.
RATE = 8.0
#: Mouths from one measurement of the head's pose to the next.
POSE_EVERY = 4
#: Shares of a picture's openings are kept as whole numbers of this many an eye distance.
UNITS = 1000
DUBBED, OUTSIDE = "dubbed", "outside the ranges"
#: Of ``--face speaking``.
NOBODY_SPEAKS = "nobody speaks for certain"


class Watch:
    """Records one output segment.

    Args:
        segment: the row as it enters the last stage. Landmarks come from its columns ``landmarks`` and ``valid``, or are
            looked for in ``face_boxes``; with neither only the frames that were drawn are recorded.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment, self._probe = segment, MouthProbe(segment)
        self._people = PeopleRecord(segment)
        self._drawn = np.zeros(len(segment.source), bool)
        times = segment.speech_times
        self._times, self._step = times, _step(times)
        self._every = max(1, round(1 / (RATE * self._step)))
        self._at: list[int] = []
        self._opening: dict[str, list[int | None]] = {"source": [], "dub": []}
        self._faces: list[tuple[float, float]] = []

    def frame(self, index: int, frame: Frame) -> None:
        """Look at one finished output frame."""
        self._drawn[index] = frame.drawn is not None
        self._people.frame(index, frame)
        if index % self._every:
            return
        sight = self._probe.look(frame)
        self._at.append(round(1000 * float(self._times[index])))
        for kind in ("source", "dub"):
            self._opening[kind].append(None if sight is None else round(UNITS * getattr(sight, kind)))
        if sight is not None and len(self._at) % POSE_EVERY == 1:
            self._faces.append(_face(sight, self._segment.size))

    def result(self) -> dict[str, Any]:
        """Return plain data.

        Returns:
            ``at``: times of the measured mouths, ms from the output's start; ``source`` and ``dub``: their openings in
            thousandths of the distance of the eyes, None without a face; ``states``: ``[start, end, state, frames]`` of
            the stretches of the output, seconds, the state `DUBBED`, `OUTSIDE`, `NOBODY_SPEAKS`, one of `FAULTS`, a reason of
            `Segment.leave`, or "" (the face is usable and was left alone); ``people``: `PeopleRecord.result`; ``frames``:
            `pack_times` of the frames that are shown; ``face``: median eye distance in pixels and yaw in degrees, None without
            a face.
        """
        segment = self._segment
        faults = faults_of(segment)
        kept = np.where((faults == 0) & (segment.gate <= 0), -3, faults)
        left = list(dict.fromkeys(segment.left.values()))
        for index, reason in segment.left.items():
            if kept[index] == 0:
                kept[index] = len(FAULTS) + left.index(reason)
        states = np.where(self._drawn, -1, np.where(segment.asked, kept, -2))
        names = {-1: DUBBED, -2: OUTSIDE, -3: NOBODY_SPEAKS, **dict(enumerate([*FAULTS, *left]))}
        marked = []
        for state in np.unique(states):
            name = names[int(state)]
            marked += [(start, stop, name) for start, stop in runs(states == state)]
        times, step = self._times, self._step
        stretches = [
            [round(float(times[start]), 3), round(float(times[stop - 1]) + step, 3), name, stop - start]
            for start, stop, name in sorted(marked)
        ]
        face = [round(float(value), 1) for value in np.median(self._faces, 0)] if self._faces else None
        frames = pack_times(self._segment.source, self._segment.out_pts)
        return {
            **{"at": self._at, **self._opening, "states": stretches, "face": face, "frames": frames},
            "people": self._people.result(),
        }


def pack_times(source: np.ndarray, pts: np.ndarray) -> list[list[list[int]]]:
    """Return the source frames int64[N] and the times int64[N] of an output segment in few numbers: of each the first, and runs
    ``[step, count]``.
    """
    packed = []
    for values in (np.asarray(source, np.int64), np.asarray(pts, np.int64)):
        steps = np.diff(values)
        edges = np.flatnonzero(np.diff(steps)) + 1
        parts = np.split(steps, edges) if len(steps) else []
        packed.append([[int(values[0]), 1], *([int(part[0]), len(part)] for part in parts)])
    return packed


def unpack_times(packed: list[list[list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Return what `pack_times` was given."""
    source, pts = (np.cumsum(np.repeat(*np.array(runs, np.int64).T)) for runs in packed)
    return source, pts


def faults_of(segment: Segment) -> np.ndarray:
    """Return why the faces under the output frames could not be used, as far as the row says: int64[N], numbers of
    `FAULTS`.
    """
    fault, found = segment.get("fault"), segment.get("found")
    if fault is not None:
        known = np.asarray(fault, np.int64)[segment.source - segment.frames[0]]
        covered = segment.get("covered")
        return known if covered is None else np.where((known == 0) & covered, COVERED_MOUTH, known)
    if found is not None:
        return np.where(np.asarray(found, bool)[segment.source - segment.core[0]], 0, NO_FACE)
    return np.zeros(len(segment.source), np.int64)


def _face(sight: FaceSight, size: tuple[int, int]) -> tuple[float, float]:
    return float(eye_distance(sight.landmarks)), abs(head_pose(sight.landmarks, size).yaw)


def _step(times: np.ndarray) -> float:
    """Typical seconds of a frame."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    return step if math.isfinite(step) and step > 0 else 0.04
