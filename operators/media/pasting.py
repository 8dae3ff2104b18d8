"""Blending of a picture into the planes of a frame; used by `operators.media.frames`."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

#: Rows that are blended at a time, whole chroma samples: their arrays stay in the processor's cache.
STRIP = 32


def paste_into(
    planes: Sequence[np.ndarray],
    chroma: tuple[int, int],
    corner: tuple[int, int],
    rgb: np.ndarray,
    weight: np.ndarray,
    to_yuv: np.ndarray,
) -> None:
    """Blend a picture into planes: samples become ``(1 - weight) * own + weight * picture``, rounded. A chroma sample takes the mean
    over its pixels, weighted.

    Args:
        planes: uint8 or uint16 [H, W] of Y', Cb and Cr, or of Y' alone; they are written to.
        chroma: binary logarithms of the luma samples, across and down, that share a chroma sample.
        corner: x and y of the picture's first pixel; it and the picture's sides are whole chroma samples.
        rgb: uint8[h, w, 3].
        weight: float32[h, w], 0..1.
        to_yuv: float32[3, 4], the matrix from RGB and 1 to code values.
    """
    (x, y), (sx, sy) = corner, chroma
    width = weight.shape[1]
    for top in range(0, len(weight), STRIP):
        share = weight[top : top + STRIP]
        height = len(share)
        first, *others = cv2.split(cv2.transform(rgb[top : top + STRIP].astype(np.float32), to_yuv))
        blend(planes[0][y + top : y + top + height, x : x + width], first * share, share)
        parts = [value * share for value in others]
        if sx or sy:
            size = width >> sx, height >> sy
            *parts, share = (_mean(part, size) for part in (*parts, share))
        rows, columns = slice((y + top) >> sy, (y + top + height) >> sy), slice(x >> sx, (x + width) >> sx)
        for plane, part in zip(planes[1:], parts, strict=False):  # none for gray
            blend(plane[rows, columns], part, share)


def blend(target: np.ndarray, part: np.ndarray, share: np.ndarray) -> None:
    """``target = (1 - share) * target + part``, rounded, in place. Where share and part are 0 the sum is the
    target itself, exactly.
    """
    own = target.astype(np.float32)
    own += part - share * own
    np.rint(own, out=own)
    target[:] = own


def _mean(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32[h, w] in a smaller size (width, height)."""
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
