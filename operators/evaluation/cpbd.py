"""CPBD: how sharp a picture looks, without a true one (Narvekar and Karam 2009, "A No-Reference Perceptual Image
Sharpness Metric Based on a Cumulative Probability of Blur Detection").
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy import ndimage

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.segment import Segment

#: Side of a block, pixels, and the share of its pixels that must be edges for it to count.
BLOCK, EDGE_SHARE = 64, 0.002
#: Widths of edges, pixels, whose blur is just noticed: at block contrasts up to 50, and above.
LOW_CONTRAST, JUST_NOTICED = 50, (5.0, 3.0)
BETA = 3.6
#: An edge is sharp if its blur is seen with at most this probability: 1 - 1/e, which is that of the just noticed one.
SEEN = 0.63
#: Edges are followed no further, pixels.
_LONGEST = 100
#: Canny takes whole numbers: levels are counted in this part of one.
_FINE = 16


def _edges(luma: np.ndarray) -> np.ndarray:
    """bool[h, w]: vertical edges by Sobel, thinned along rows and columns.

    The threshold is that of the published implementations, which hold the squared gradient against twice the root of
    its mean.
    """
    strength = np.square(ndimage.sobel(luma, axis=1) / 8)
    strength[strength <= 2 * math.sqrt(strength.mean())] = 0
    padded = np.pad(strength, 1)
    across = (strength > padded[1:-1, :-2]) & (strength > padded[1:-1, 2:])
    along = (strength > padded[:-2, 1:-1]) & (strength > padded[2:, 1:-1])
    return across | along


def _runs(flags: np.ndarray) -> np.ndarray:
    """int[h, w] of bool[h, w]: how many True in a row end here, counted along axis 1."""
    places = np.arange(1, flags.shape[1] + 1)
    last_false = np.maximum.accumulate(np.where(flags, 0, places), axis=1)
    return places - last_false


def edge_widths(luma: np.ndarray) -> np.ndarray:
    """Return the widths of a picture's vertical edges after Marziliano et al. 2002: from the edge to the next extremum
    of its row on both sides.

    Args:
        luma: float64[h, w].

    Returns:
        float64[h, w] pixels, 0 where no such edge is.
    """
    down, right = np.gradient(luma)
    angle = 45 * np.round(np.degrees(np.arctan2(down, right)) / 45)
    # As in the published implementations.
    angle[right == 0] = 0
    edges = _edges(luma)
    edges[0], edges[:, 0] = False, False
    widths = np.zeros(luma.shape)
    steps = np.diff(luma, axis=1)
    for sign, wanted in ((1, angle == 0), (-1, np.abs(angle) == 180)):
        monotone = sign * steps > 0
        # Runs that end at the step from column - 2 to column - 1, and those that begin at the step to column + 2.
        before = np.pad(_runs(monotone), ((0, 0), (2, 0)))[:, : luma.shape[1]]
        after = np.pad(_runs(monotone[:, ::-1])[:, ::-1], ((0, 0), (0, 2)))[:, 1:]
        found = edges & wanted
        total = np.minimum(before, _LONGEST) + np.minimum(after, _LONGEST) + 2
        widths[found] = total[found]
    return widths


def _edge_pixels(luma: np.ndarray) -> np.ndarray:
    """bool[h, w]: Canny's edges, which decide the blocks that count.

    Gradients of the picture smoothed with sigma 1; low and high threshold are 0.1 and 0.2 levels, so that all but flat
    blocks have edges.
    """
    smooth = ndimage.gaussian_filter(luma, 1.0, mode="nearest")
    across, down = (
        np.clip(np.rint(ndimage.sobel(smooth, axis=axis) * _FINE), -32768, 32767).astype(np.int16)
        for axis in (1, 0)
    )
    return np.asarray(cv2.Canny(across, down, 0.1 * _FINE, 0.2 * _FINE, L2gradient=True)) > 0


def cpbd(luma: np.ndarray) -> float:
    """Return the cumulative probability of blur detection; higher is sharper.

    The share of the edges of all 64x64 blocks with edges whose blur is seen with a probability of at most 0.63, where
    an edge of width w is seen as blurred with probability ``1 - exp(-(w / w_jnb)^3.6)``.

    Args:
        luma: uint8 or float[h, w], 0 ... 255, of the whole picture, at least 64 pixels a side.

    Returns:
        0 ... 1; NaN where no block has edges. 0.28 is usual for talking heads of 2022.

    Raises:
        ValueError: no luma, or too small.
    """
    if luma.ndim != 2 or min(luma.shape) < BLOCK:
        raise ValueError(f"CPBD needs luma of at least {BLOCK} pixels a side, got shape {luma.shape}")
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    values = luma.astype(np.float64)
    widths = edge_widths(values)

    def blocks(array: np.ndarray) -> np.ndarray:
        cut = array[: rows * BLOCK, : columns * BLOCK]
        return cut.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows * columns, -1)

    counted = blocks(_edge_pixels(values)).sum(1) > BLOCK * BLOCK * EDGE_SHARE
    levels, wide = blocks(values)[counted], blocks(widths)[counted]
    contrast = np.floor(levels.max(1, initial=0) - levels.min(1, initial=255))
    noticed = np.where(contrast <= LOW_CONTRAST, *JUST_NOTICED)[:, None]
    probability = 1 - np.exp(-((wide / noticed) ** BETA))
    edges = wide > 0
    if not edges.any():
        return math.nan
    # Whole per cents, as the published implementations collect them.
    return float((np.round(100 * probability[edges]) <= round(100 * SEEN)).mean())


class Cpbd(SegmentMetric):
    """CPBD of whole finished frames, every fifth."""

    name = "cpbd"
    per = "shot"
    better = "higher"
    on = False
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the frame's CPBD; NaN where it has no edges."""
        del segment, index
        return cpbd(frame.luma())
