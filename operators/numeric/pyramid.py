"""Laplacian pyramids (Burt and Adelson 1983): pictures as frequency bands, each mixed by a mask of its own
resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np


def gaussian(picture: np.ndarray, levels: int) -> list[np.ndarray]:
    """``levels`` pictures, each half the size of the one before, in the picture's dtype: 8-bit input is rounded
    at every level.
    """
    pyramid = [picture]
    for _ in range(levels - 1):
        pyramid.append(cv2.pyrDown(pyramid[-1]))
    return pyramid


def bands(picture: np.ndarray, levels: int) -> list[np.ndarray]:
    """Differences of neighbouring levels, float32, finest first; the last of the ``levels`` is the coarsest
    level itself.
    """
    pyramid = gaussian(picture, levels)
    # 8-bit pictures are enlarged as floats below the finest level: rounded once a level, not twice.
    pyramid[1:] = [level.astype(np.float32) for level in pyramid[1:]]
    differences = [
        np.subtract(fine, cv2.pyrUp(coarse, dstsize=fine.shape[1::-1]), dtype=np.float32)
        for fine, coarse in pairwise(pyramid)
    ]
    return [*differences, pyramid[-1].astype(np.float32)]


def collapse(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The picture of `bands`, float32[h, w, c]."""
    result = parts[-1]
    for band in reversed(parts[:-1]):
        # OpenCV drops the channel axis of a picture of one pixel or one channel.
        result = cv2.pyrUp(result.reshape(*result.shape[:2], -1), dstsize=band.shape[1::-1]) + band
    return result


def blend(a: np.ndarray, b: np.ndarray, mask: np.ndarray, levels: int) -> np.ndarray:
    """A where the mask is 1, B where it is 0, each frequency band over a border as wide as its wavelength.

    Args:
        a: uint8[h, w, 3]; h and w divisible by 2 ** (levels - 1).
        b: uint8[h, w, 3].
        mask: float32[h, w] or [h, w, 3], 0 ... 1.
        levels: pictures in the pyramid.

    Returns:
        float32[h, w, 3], not clipped.
    """
    weights = (w[..., None] if w.ndim == 2 else w for w in gaussian(mask.astype(np.float32), levels))
    parts = zip(bands(a, levels), bands(b, levels), weights, strict=True)
    return collapse([band_a * weight + band_b * (1 - weight) for band_a, band_b, weight in parts])


def masked(picture: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """A picture with each of its bands times a weight, such as one of `gaussian` of a mask.

    Args:
        picture: float32[h, w] or [h, w, c], such as a difference that is added to a base.
        weights: float32 [h, w] of each band, finest first; the last is of the coarsest, which holds the rest.

    Returns:
        float32, the picture's shape.
    """
    parts = zip(bands(picture, len(weights)), weights, strict=True)
    return collapse([band * of_channels(weight, band) for band, weight in parts])


def of_channels(weight: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A weight float32[h, w] for each channel of a picture [h, w] or [h, w, c]: float32 of its shape. Products with it take less than
    half of the time of those with ``weight[..., None]``.
    """
    return weight if picture.ndim == 2 else cv2.merge([weight] * picture.shape[2])
