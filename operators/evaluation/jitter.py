"""Temporal jitter: how much the drawn pixels shimmer from frame to frame, beyond what the footage does itself."""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.evaluation.triplets import Triplets
from operators.media.frames import Frame
from operators.segment import Segment


def jitter(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> float:
    """Return the root mean square of the second temporal difference ``before - 2 middle + after``; lower is steadier.

    Even motion and even changes of brightness have none. It needs no weights.

    Args:
        before: uint8[h, w] luma of one of three consecutive frames.
        middle: the next, same shape.
        after: the last.

    Returns:
        0 ... 510 luma levels.

    Raises:
        ValueError: shapes differ.
    """
    if not before.shape == middle.shape == after.shape:
        raise ValueError(
            f"frames of shapes {before.shape}, {middle.shape} and {after.shape} are not consecutive"
        )
    # Whole numbers of 16 bits: a third of the time of floats.
    second = before.astype(np.int16)
    second += after
    second -= middle
    second -= middle
    return float(cv2.norm(second, cv2.NORM_L2)) / math.sqrt(second.size)


class Jitter(SegmentMetric):
    """Jitter of the drawn box less that of the source's frames there, luma levels: 0 as steady as the footage,
    negative steadier, lower is better. Three frames of every twelve are looked at.
    """

    name = "jitter"
    unit = "levels"
    per = "shot"
    better = "lower"

    def __init__(self) -> None:
        self._triplets = Triplets()

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the excess over three consecutive drawn frames that show consecutive source frames; else NaN."""
        three = self._triplets.take(segment, index, frame)
        if three is None:
            return math.nan
        frames, box = three
        drawn = jitter(*(one.luma(box) for one in frames))
        return drawn - jitter(*(one.original.luma(box) for one in frames))
