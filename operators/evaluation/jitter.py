"""Temporal jitter: how much the drawn pixels shimmer from frame to frame, beyond what the footage does itself."""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.segment import Segment

#: Output frames from one group of three consecutive frames to the next.
PERIOD = 12


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
    second = before.astype(np.float32) - 2 * middle.astype(np.float32) + after
    return math.sqrt(float(np.square(second).mean(dtype=np.float64)))


class Jitter(SegmentMetric):
    """Jitter of the drawn box less that of the source's frames there, luma levels: 0 as steady as the footage,
    negative steadier, lower is better. Three frames of every twelve are looked at.
    """

    name = "jitter"
    unit = "levels"
    per = "shot"
    better = "lower"

    def __init__(self) -> None:
        #: The last two frames of each segment that is being measured.
        self._recent: weakref.WeakKeyDictionary[Segment, deque[tuple[int, Frame]]] = (
            weakref.WeakKeyDictionary()
        )

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the excess over three consecutive drawn frames that show consecutive source frames; else NaN."""
        if index % PERIOD > 2:
            return math.nan
        recent = self._recent.setdefault(segment, deque(maxlen=2))
        last = list(recent)
        recent.append((index, frame))
        if [number for number, _ in last] != [index - 2, index - 1] or frame.drawn is None:
            return math.nan
        three = [one for _, one in last] + [frame]
        if any(one.drawn is None for one in three) or np.diff([one.index for one in three]).tolist() != [
            1,
            1,
        ]:
            return math.nan
        box = _around([one.drawn for one in three if one.drawn])
        drawn = jitter(*(one.luma(box) for one in three))
        return drawn - jitter(*(one.original.luma(box) for one in three))


def _around(boxes: list[Box]) -> Box:
    low = np.min(boxes, 0)[:2]
    high = np.max(boxes, 0)[2:]
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
