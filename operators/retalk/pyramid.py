"""Blending two pictures band by band (Burt and Adelson 1983; docs/reference.md#12-pyramid-blend)."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np


def _gaussian(picture: np.ndarray, levels: int) -> list[np.ndarray]:
    """``levels`` pictures, each half the size of the one before; 8-bit input is rounded at every level, as in
    the original.
    """
    pyramid = [picture]
    for _ in range(levels - 1):
        pyramid.append(cv2.pyrDown(pyramid[-1]))
    return [pyramid[0], *(level.astype(np.float32) for level in pyramid[1:])]


def _laplacian(gaussian: list[np.ndarray]) -> list[np.ndarray]:
    """Differences of neighbouring levels, finest first; the last entry is the base itself."""
    bands = []
    for fine, coarse in pairwise(gaussian):
        up = cv2.pyrUp(coarse, dstsize=(fine.shape[1], fine.shape[0]))
        bands.append(np.subtract(fine, up, dtype=np.float32))
    return [*bands, gaussian[-1].astype(np.float32)]


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
    weights = _gaussian(mask.astype(np.float32), levels)
    bands_a, bands_b = _laplacian(_gaussian(a, levels)), _laplacian(_gaussian(b, levels))
    mixed = []
    for band_a, band_b, weight in zip(bands_a, bands_b, weights, strict=True):
        # pyrDown drops the channel axis of a picture of one pixel or one channel.
        w = weight[..., None] if weight.ndim == 2 else weight
        mixed.append(band_a * w + band_b * (1 - w))
    result = mixed[-1]
    for band in reversed(mixed[:-1]):
        result = (
            cv2.pyrUp(result.reshape(*result.shape[:2], -1), dstsize=(band.shape[1], band.shape[0])) + band
        )
    return result
