"""Seam score: how visibly a drawn region ends in the picture around it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.segment import Segment

#: Luma levels up to which a change is an encoder's or a rounding's, and none of the drawing.
UNCHANGED = 1
#: Changed pixels below which there is no seam to speak of.
LEAST = 64


def seam_visibility(drawn: np.ndarray, source: np.ndarray) -> float:
    """Return the step of the change at the rim of the changed region over the source's own steps there; lower is better.

    The change is drawn minus source. A faded paste changes little at its rim; a hard one jumps. The value is the root
    mean square of the change on the outermost pixels of the region, over the root mean square of the source's steps
    between neighbours there plus one level: 0 invisible, about 1 as strong as the texture around, above 1 a visible
    line. It needs no weights. Our own definition; not to be compared with others'.

    Args:
        drawn: uint8[h, w] luma around the drawn region.
        source: the same place of the frame before.

    Returns:
        0 ... 255; NaN where fewer than 64 pixels have changed.

    Raises:
        ValueError: shapes differ.
    """
    if drawn.shape != source.shape:
        raise ValueError(
            f"a drawn picture of shape {drawn.shape} does not lie on a source of shape {source.shape}"
        )
    change = drawn.astype(np.float32) - source
    # A margin, so that a region that fills the picture has a rim as well.
    region = np.pad(np.abs(change) > UNCHANGED, 2)
    if np.count_nonzero(region) < LEAST:
        return math.nan
    filled = _filled(cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    inner = cv2.erode(filled, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    rim = (filled > inner)[2:-2, 2:-2]
    steps = sum(np.square(_slope(source, *axis))[rim] for axis in ((1, 0), (0, 1)))
    texture = math.sqrt(float(np.mean(steps)) / 2)
    return math.sqrt(float(np.square(change[rim]).mean())) / (texture + 1)


def _filled(region: np.ndarray) -> np.ndarray:
    """A region uint8[h, w] of 0 and 1 that leaves the border free, with its holes filled."""
    outside = region.copy()
    cv2.floodFill(outside, None, (0, 0), 1)
    return region | (1 - outside)


def _slope(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    """Central differences float32[h, w] along one axis."""
    return cv2.Sobel(picture, cv2.CV_32F, x, y, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)


class Seam(SegmentMetric):
    """Seam visibility of the drawn box and eight pixels around it, every tenth frame."""

    name = "seam"
    per = "shot"
    better = "lower"
    every = 10

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the visibility; NaN where nothing was drawn."""
        del segment, index
        if frame.drawn is None:
            return math.nan
        width, height = frame.size
        x1, y1, x2, y2 = frame.drawn
        box = max(0, x1 - 8), max(0, y1 - 8), min(width, x2 + 8), min(height, y2 + 8)
        return seam_visibility(frame.luma(box), frame.original.luma(box))
