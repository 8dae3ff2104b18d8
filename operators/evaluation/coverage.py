"""The metrics "dubbed" and "mouth_change": whether anything was drawn, and how much of it a viewer can see."""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.segment import Segment


class Dubbed(SegmentMetric):
    """Share of the frames that got another mouth, 0 ... 1.

    Shots without the person, and those in which nobody speaks for certain (``--face speaking``), lower it and are no fault: no
    value is worse than others. It needs nothing.
    """

    name = "dubbed"
    per = "shot"
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return 1 for a frame that was drawn on, else 0; NaN for one that was not to be dubbed."""
        if not segment.asked[index]:
            return math.nan
        return 0.0 if frame.drawn is None else 1.0


class MouthChange(SegmentMetric):
    """Root mean square difference of the luma between result and source in the drawn box, in grey levels of 0 ... 255.

    0 where nothing that a viewer sees was changed, though the stage has drawn: a dub that does not dub. It needs nothing.
    """

    name = "mouth_change"
    unit = "grey levels"
    per = "shot"
    better = "higher"
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the difference; NaN where nothing was drawn."""
        del segment, index
        if frame.drawn is None:
            return math.nan
        return difference(frame, frame.drawn)


def difference(frame: Frame, box: Box) -> float:
    """Return the root mean square difference of a frame's luma from what it was before it was drawn into, levels in a box."""
    drawn, source = (np.ascontiguousarray(one.luma(box)) for one in (frame, frame.original))
    return float(cv2.norm(drawn, source, cv2.NORM_L2) / math.sqrt(drawn.size))
