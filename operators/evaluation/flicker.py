"""The metric "flicker": whether the drawn region brightens and darkens from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.evaluation.triplets import Triplets
from operators.media.frames import Frame
from operators.segment import Segment

#: Cells of the drawn box along each side.
CELLS = 16
#: Levels of a cell's mean change below which nothing was drawn there.
UNDRAWN = 0.25


def flicker(changes: Sequence[np.ndarray]) -> float:
    """Return how much the change flickers in step all over the drawn region: the median over its cells of the second
    difference in time of their mean changes; lower is steadier.

    A mouth that moves changes a few cells, an unsteady brightness all of them.

    Args:
        changes: three of float32[h, w], drawn minus source of three consecutive frames in one box.

    Returns:
        0 ... 1020 levels, the size of the median; NaN where nothing was drawn.
    """
    cells = np.stack([cv2.resize(one, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for one in changes])
    drawn = np.abs(cells).max(0) > UNDRAWN
    if not drawn.any():
        return math.nan
    return abs(float(np.median((cells[0] - 2 * cells[1] + cells[2])[drawn])))


class Flicker(SegmentMetric):
    """Flicker of the drawn box in luma levels; three frames of every twelve are looked at."""

    name = "flicker"
    unit = "levels"
    per = "shot"
    better = "lower"

    def __init__(self) -> None:
        self._triplets = Triplets()

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the flicker of three consecutive drawn frames that show consecutive source frames; else NaN."""
        three = self._triplets.take(segment, index, frame)
        if three is None:
            return math.nan
        frames, box = three
        return flicker([_change(one.luma(box), one.original.luma(box)) for one in frames])


def _change(drawn: np.ndarray, source: np.ndarray) -> np.ndarray:
    """float32[h, w], drawn minus source, uint8[h, w] each."""
    change = drawn.astype(np.float32)
    change -= source
    return change
