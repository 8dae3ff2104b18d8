"""The metric "identity_gap": whether the drawn face is still that of the person in the source."""

from __future__ import annotations

import functools
import math
import weakref
from typing import TYPE_CHECKING

import numpy as np

from operators.evaluation.coverage import difference
from operators.evaluation.metric import SegmentMetric
from operators.faces.identity import MODEL
from operators.media.frames import Frame
from operators.segment import Segment

if TYPE_CHECKING:
    from operators.faces.identity import Recogniser

#: Seconds into a shot at which a face is looked at first, and from one look to the next.
FIRST, PERIOD = 1.0, 15.0
#: Seconds of a shot that is looked at in any case; in a shorter one, only a face whose drawn pixels differ from the source's
#: by more than this, root mean square in levels, can be another's.
LONG, DIFFERENT = 12.0, 10.0


class IdentityGap(SegmentMetric):
    """Distance of the descriptors (`operators.faces.identity`) of the drawn face and of the source's in the same frame.

    Two pictures of one person are up to 0.5 apart, dlib takes two nearer than 0.6 for one person; the same frame with another
    mouth is much nearer. One frame a shot is looked at, and one more every 15 s: a look takes 0.1 s. Shots of less than 12 s
    are looked at only where the drawn pixels differ much from the source's (10 levels, RMS): otherwise it is still the
    source's face.
    """

    name = "identity_gap"
    per = "shot"
    better = "lower"
    every = 3
    models = (MODEL,)

    def __init__(self) -> None:
        #: Of each segment that is being measured, the source frame before which no face is looked at.
        self._next: weakref.WeakKeyDictionary[Segment, int] = weakref.WeakKeyDictionary()

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the distance; NaN where nothing was drawn, no face is known or none is due."""
        del index
        if frame.drawn is None:
            return math.nan
        due = self._next.get(segment)
        if due is None:
            due = self._next[segment] = _first(segment)
        if frame.index < due or frame.index >= segment.shot[1]:
            return math.nan
        brief = segment.shot[1] - segment.shot[0] < LONG * _rate(segment)
        if brief and difference(frame, frame.drawn) < DIFFERENT:
            return math.nan
        from operators.evaluation.mouth_probe import MouthProbe  # not where a command only looks metrics up

        landmarks = MouthProbe(segment).source_landmarks(frame)
        if landmarks is None:
            return math.nan
        self._next[segment] = frame.index + max(1, round(PERIOD * _rate(segment)))
        drawn, source = (_describe(one, landmarks) for one in (frame, frame.original))
        return float(np.linalg.norm(drawn - source))


def _first(segment: Segment) -> int:
    """The first frame of a segment whose face is looked at: one of its shot's, or beyond its end."""
    begin, stop = segment.shot
    rate = _rate(segment)
    first, period = round(min(FIRST * rate, (stop - begin) / 2)), max(1, round(PERIOD * rate))
    passed = max(0, segment.core[0] - begin - first)
    return begin + first + -(-passed // period) * period


def _rate(segment: Segment) -> float:
    """Frames a second of the source."""
    pts = segment.pts
    step = float(np.median(np.diff(pts)) * segment.time_base) if len(pts) > 1 else 0.04
    return 1 / step if step > 0 else 25.0


def _describe(frame: Frame, landmarks: np.ndarray) -> np.ndarray:
    """Descriptor float64[128] of the face in a frame, whose luma is cut around it."""
    width, height = frame.size
    low, high = landmarks.min(0), landmarks.max(0)
    margin = (high - low).max()
    x1, y1 = (max(0, int(value)) for value in low - margin)
    x2, y2 = min(width, int(high[0] + margin)), min(height, int(high[1] + margin))
    picture = np.ascontiguousarray(frame.luma((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))))
    return _recogniser().describe(picture, landmarks - [x1, y1])


@functools.cache
def _recogniser() -> Recogniser:
    from operators.faces.identity import Recogniser

    return Recogniser()
