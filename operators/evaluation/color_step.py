"""The metric "color_step": whether the drawn region differs in tone from the picture around it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.segment import Segment

#: Levels of the largest channel up to which a pixel counts as unchanged.
UNCHANGED = 2
#: Changed pixels below which there is no edge to speak of.
LEAST = 64
#: Holes and specks up to this wide are no part of the edge, pixels.
CELL = 5
#: Width of the band inside the edge over the square root of the region's area, and its least, pixels.
BAND, NARROWEST = 0.04, 2


def color_step(drawn: np.ndarray, source: np.ndarray) -> float:
    """Return how far the drawn region's tone jumps at its edge, in levels; lower is better.

    The changes (drawn minus source) of the pixels in a narrow band just inside the edge, averaged over quarters of the band and
    channel by channel, so that texture averages out and tone stays: the largest over the quarters of the root mean square
    over the channels. A faded paste has little there, a hard one of another tone its whole difference.

    Args:
        drawn: uint8[h, w, 3] around the drawn region.
        source: the same place of the frame before.

    Returns:
        0 ... 255; NaN where fewer than 64 pixels have changed.
    """
    change = drawn.astype(np.float32) - source
    # NumPy's maximum over a short last axis takes forty times as long.
    channels = cv2.split(cv2.absdiff(drawn, source))
    most = cv2.max(channels[0], cv2.max(channels[1], channels[2]))
    # A margin, so that a region that fills the picture has an edge as well.
    region: np.ndarray = np.pad((most > UNCHANGED).astype(np.uint8), 2 * CELL)
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((CELL, CELL), np.uint8))
    region = cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((CELL, CELL), np.uint8))
    area = int(np.count_nonzero(region))
    if area < LEAST:
        return math.nan
    inside = cv2.distanceTransform(region, cv2.DIST_L2, 3)[2 * CELL : -2 * CELL, 2 * CELL : -2 * CELL]
    band = (inside > 0) & (inside <= max(NARROWEST, BAND * math.sqrt(area)))
    rows, columns = np.nonzero(band)
    if not len(rows):
        return math.nan
    middle = rows.mean(), columns.mean()
    quarter = 2 * (rows > middle[0]) + (columns > middle[1])
    steps = [
        math.sqrt(float(np.square(change[rows[quarter == q], columns[quarter == q]].mean(0)).mean()))
        for q in range(4)
        if (quarter == q).any()
    ]
    return max(steps)


class ColorStep(SegmentMetric):
    """Step of tone at the edge of what was drawn, levels, in every twentieth frame."""

    name = "color_step"
    unit = "levels"
    per = "shot"
    better = "lower"
    every = 20

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the step; NaN where nothing was drawn."""
        del segment, index
        if frame.drawn is None:
            return math.nan
        return color_step(frame.rgb(frame.drawn), frame.original.rgb(frame.drawn))
