"""Record of the people in an output segment: in which frames each was dubbed, and where their mouths are.

A row holds everybody who is dubbed in its frames (`Segment.others`), and each of them is drawn by a `paste` of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.evaluation.contact_sheet import mouth_box
from operators.evaluation.mouth_probe import MouthProbe
from operators.faces.geometry import MOUTH
from operators.media.frames import Frame
from operators.numeric.masks import runs
from operators.segment import Segment

#: Seconds from one place of a mouth to the next.
EVERY = 1.0
#: Margin around a mouth, in its widths (`mouth_box`).
MARGIN = 0.7
#: Places are kept as whole numbers of this many a picture's width and height.
UNITS = 1000


class PeopleRecord:
    """Records who is drawn in one output segment.

    Args:
        segment: the row as it enters the last stage, with its others.
    """

    def __init__(self, segment: Segment) -> None:
        self._people = (segment, *segment.others)
        self._probes = [MouthProbe(one) for one in self._people]
        self._times = segment.speech_times
        self._dubbed = np.zeros((len(self._people), len(segment.source)), bool)
        self._mouths: list[list[list[int]]] = [[] for _ in self._people]

    def frame(self, index: int, frame: Frame) -> None:
        """Look at one finished output frame."""
        now = round(1000 * float(self._times[index]))
        for mouths, probe in zip(self._mouths, self._probes, strict=True):
            if mouths and now - mouths[-1][0] < 1000 * EVERY:
                continue
            if (landmarks := probe.source_landmarks(frame)) is not None:
                box = np.array(mouth_box(landmarks, frame.size, MARGIN)) / (*frame.size, *frame.size)
                mouths.append([now, *np.round(UNITS * np.clip(box, 0, 1)).astype(int).tolist()])
        if frame.drawn is None:
            return
        if len(self._people) == 1:
            self._dubbed[0, index] = True
            return
        places = np.array([_place(one, frame.index) for one in self._people])
        known = np.flatnonzero(np.isfinite(places).all(1))
        for x1, y1, x2, y2 in frame.drawn_boxes if len(known) else ():
            away = np.hypot(*(places[known] - [(x1 + x2) / 2, (y1 + y2) / 2]).T)
            self._dubbed[known[np.argmin(away)], index] = True

    def result(self) -> list[dict[str, Any]]:
        """Return plain data of each person, the row's own first.

        Returns:
            ``speaker`` and ``person`` as of `Segment`; ``dubbed``: ``[start, end]`` of the stretches in which they are dubbed,
            seconds of the output; ``mouths``: ``[time, x1, y1, x2, y2]`` about once a second, ms of the output and thousandths
            of the picture's width and height.
        """
        times = self._times
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
        return [
            {
                **{"speaker": one.speaker, "person": one.person, "mouths": mouths},
                "dubbed": [
                    [round(float(times[start]), 3), round(float(times[stop - 1]) + step, 3)]
                    for start, stop in runs(dubbed)
                ],
            }
            for one, mouths, dubbed in zip(self._people, self._mouths, self._dubbed, strict=True)
        ]


def _place(segment: Segment, index: int) -> np.ndarray:
    """Middle of a person's mouth in a source frame, or of the face where that is all that is known: float64[2] pixels, NaN where
    neither is.
    """
    landmarks, valid = segment.get("landmarks"), segment.get("valid")
    if landmarks is not None and valid is not None:
        t = index - segment.frames[0]
        return np.asarray(landmarks[t], np.float64)[MOUTH].mean(0) if valid[t] else np.full(2, np.nan)
    boxes, found = segment.get("face_boxes"), segment.get("found")
    if boxes is None or found is None or not found[index - segment.core[0]]:
        return np.full(2, np.nan)
    x1, y1, x2, y2 = np.asarray(boxes[index - segment.core[0]], np.float64)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2])
