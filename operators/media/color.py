"""Between a stream's Y'CbCr code values and 8-bit R'G'B', by the stream's own matrix and range.

Matrices: ITU-T H.273, table 4 (Kr, Kb) and equations 36-59. No transfer function is applied: R'G'B' are the
    stream's non-linear values.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

#: H.273 matrix coefficients -> Kr, Kb.
_KR_KB = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470 B/G
    6: (0.299, 0.114),  # SMPTE 170M
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020 non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, taken as non-constant
}
UNSPECIFIED = 2
YCGCO = 8
LIMITED_RANGE, FULL_RANGE = 1, 2


@dataclasses.dataclass(frozen=True)
class ColorTags:
    """Colour description as H.273 code points (what FFmpeg and the streams carry); 2 (range: 0) means
    unspecified.
    """

    range: int = 0
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def full_range(self) -> bool:
        return self.range == FULL_RANGE


@functools.lru_cache(maxsize=64)
def rgb_to_yuv(matrix: int, full_range: bool, depth: int, height: int) -> np.ndarray:
    """float32[3,4]: code values of Y, Cb, Cr = M @ (R, G, B, 1) for R'G'B' of 0..255.

    Args:
        matrix: H.273 matrix coefficients. Unspecified: BT.709 for pictures of 720 lines and more, SMPTE 170M
            below, as players do.
        full_range: whether code values use the whole range.
        depth: bits of a code value.
        height: lines of the coded picture.
    """
    if matrix == YCGCO:
        base = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    else:
        kr, kb = _KR_KB.get(matrix, _KR_KB[1] if height >= 720 else _KR_KB[6])
        y = np.array([kr, 1 - kr - kb, kb])
        base = np.stack(
            [y, (np.array([0, 0, 1]) - y) / (2 * (1 - kb)), (np.array([1, 0, 0]) - y) / (2 * (1 - kr))]
        )
    unit = float(1 << (depth - 8))
    top = float((1 << depth) - 1)
    scale = np.array([top, top, top]) if full_range else np.array([219.0, 224.0, 224.0]) * unit
    offset = np.array([0.0 if full_range else 16 * unit, 128 * unit, 128 * unit])
    return np.concatenate([base * (scale / 255.0)[:, None], offset[:, None]], axis=1).astype(np.float32)


@functools.lru_cache(maxsize=64)
def yuv_to_rgb(matrix: int, full_range: bool, depth: int, height: int) -> np.ndarray:
    """float32[3,4]: R'G'B' of 0..255 = M @ (Y, Cb, Cr, 1) for code values; the inverse of `rgb_to_yuv`."""
    forward = rgb_to_yuv(matrix, full_range, depth, height).astype(np.float64)
    inverse = np.linalg.inv(forward[:, :3])
    return np.concatenate([inverse, -(inverse @ forward[:, 3])[:, None]], axis=1).astype(np.float32)
