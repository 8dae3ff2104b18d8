"""Seam score: how visibly a drawn region ends in the picture around it."""

from __future__ import annotations

import math

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
    # A pixel of margin, so that a region that fills the picture has a rim as well.
    region = np.pad(np.abs(change) > UNCHANGED, 1)
    if np.count_nonzero(region) < LEAST:
        return math.nan
    from scipy import ndimage  # not where a command only looks metrics up

    region = ndimage.binary_fill_holes(ndimage.binary_closing(region, np.ones((3, 3)), border_value=0))
    rim = (region & ~ndimage.binary_erosion(region, border_value=0))[1:-1, 1:-1]
    own = source.astype(np.float32)
    steps = np.square(np.gradient(own, axis=0)) + np.square(np.gradient(own, axis=1))
    texture = math.sqrt(float(steps[rim].mean()) / 2)
    return math.sqrt(float(np.square(change[rim]).mean())) / (texture + 1)


class Seam(SegmentMetric):
    """Seam visibility of the drawn box and eight pixels around it, every fifth frame."""

    name = "seam"
    per = "shot"
    better = "lower"
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the visibility; NaN where nothing was drawn."""
        del segment, index
        if frame.drawn is None:
            return math.nan
        width, height = frame.size
        x1, y1, x2, y2 = frame.drawn
        box = max(0, x1 - 8), max(0, y1 - 8), min(width, x2 + 8), min(height, y2 + 8)
        return seam_visibility(frame.luma(box), frame.original.luma(box))
