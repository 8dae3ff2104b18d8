"""The metric "sharpness": whether a drawn mouth is as sharp as the footage around it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.segment import Segment

#: Fewer changed pixels than these say nothing.
LEAST = 64
#: Of the box around the mouth, mouth widths.
MARGIN = 0.15


class Sharpness(SegmentMetric):
    """Fine detail of the drawn pixels around the mouth over that of the source's in their place; 1: as sharp.

    The ratio of the root mean square of the luma's Laplacian in every fifth frame, over the pixels whose luma has changed in a
    box around the mouth, or in the drawn box where the engine tells no landmarks: about 1 % of the time that the exemplar engine
    takes to draw them. It needs no weights; a soft mouth, the usual fault of generated faces, has a value well below 1.
    """

    name = "sharpness"
    per = "shot"
    better = "higher"
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the ratio; NaN where nothing was drawn or the source is flat there."""
        del index
        if frame.drawn is None:
            return math.nan
        box = around_mouth(segment, frame) or frame.drawn
        drawn, source = (one.luma(box) for one in (frame, frame.original))
        changed = drawn != source
        if np.count_nonzero(changed) < LEAST:
            return math.nan
        detail = [
            float(np.square(cv2.Laplacian(np.ascontiguousarray(luma), cv2.CV_32F)[changed]).mean())
            for luma in (drawn, source)
        ]
        return math.sqrt(detail[0] / detail[1]) if detail[1] > 0 else math.nan


def around_mouth(segment: Segment, frame: Frame) -> Box | None:
    """Return the box around the mouth of the source's face inside what was drawn; None without landmarks."""
    landmarks, valid = segment.get("landmarks"), segment.get("valid")
    t = frame.index - segment.frames[0] if landmarks is not None else 0
    if landmarks is None or valid is None or not valid[t] or frame.drawn is None:
        return None
    lips = np.asarray(landmarks[t])[48:68]
    margin = MARGIN * float(np.ptp(lips[:, 0]))
    low = np.maximum(np.floor(lips.min(0) - margin), frame.drawn[:2]).astype(int)
    high = np.minimum(np.ceil(lips.max(0) + margin), frame.drawn[2:]).astype(int)
    return (int(low[0]), int(low[1]), int(high[0]), int(high[1])) if (high - low > 3).all() else None
