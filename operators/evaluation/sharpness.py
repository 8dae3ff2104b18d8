"""The metric "sharpness": whether a drawn mouth is as sharp as the footage around it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.segment import Segment

#: Fewer changed pixels than these say nothing.
LEAST = 64


class Sharpness(SegmentMetric):
    """Fine detail of the drawn pixels over that of the source's in their place; 1: as sharp.

    The ratio of the root mean square of the luma's Laplacian, over the pixels of the drawn box whose luma has
    changed, in every fifth frame: about 1 % of the time that the exemplar engine takes to draw them. It needs no
    weights; a soft mouth, the usual fault of generated faces, has a value well below 1.
    """

    name = "sharpness"
    per = "shot"
    better = "higher"
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the ratio; NaN where nothing was drawn or the source is flat there."""
        del segment, index
        if frame.drawn is None:
            return math.nan
        drawn, source = (one.luma(frame.drawn) for one in (frame, frame.original))
        changed = drawn != source
        if np.count_nonzero(changed) < LEAST:
            return math.nan
        detail = [
            float(np.square(cv2.Laplacian(np.ascontiguousarray(luma), cv2.CV_32F)[changed]).mean())
            for luma in (drawn, source)
        ]
        return math.sqrt(detail[0] / detail[1]) if detail[1] > 0 else math.nan
