"""PSNR and SSIM: a picture against the true one.

Of a dub they make sense where the video speaks its own sound again (reconstruction), so that the source is the
truth.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.segment import Segment

#: Value of two equal pictures, whose PSNR is infinite: above any of pictures that differ in one 8-bit value up to 8K.
EQUAL = 130.0
_PEAK, _SIDE, _SIGMA = 255.0, 11, 1.5
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def _checked(result: np.ndarray, truth: np.ndarray) -> None:
    if result.shape != truth.shape or result.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(
            f"pictures {result.dtype}{list(result.shape)} and {truth.dtype}{list(truth.shape)} do not pair up: "
            "need uint8 of one size"
        )


def psnr(result: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, ``10 log10(255^2 / MSE)``; higher is better.

    Args:
        result: uint8[h, w] or [h, w, 3].
        truth: the same shape.

    Returns:
        0 ... 130, which stands for equal pictures.

    Raises:
        ValueError: the pictures do not pair up.
    """
    _checked(result, truth)
    error = float(np.square(result.astype(np.float32) - truth).mean(dtype=np.float64))
    return min(EQUAL, 10 * math.log10(_PEAK**2 / error)) if error else EQUAL


def ssim(result: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity of Wang et al. 2004; higher is better.

    Gaussian windows of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, peak 255, the mean over all windows that lie
    inside the picture, and over the channels where there are three.

    Args:
        result: uint8[h, w] or [h, w, 3], at least 11 pixels a side.
        truth: the same shape.

    Returns:
        -1 ... 1, 1 for equal pictures.

    Raises:
        ValueError: the pictures do not pair up or are too small.
    """
    _checked(result, truth)
    if min(result.shape[:2]) < _SIDE:
        raise ValueError(
            f"SSIM needs at least {_SIDE} pixels a side, got {result.shape[1]}x{result.shape[0]}"
        )
    x, y = result.astype(np.float64), truth.astype(np.float64)

    def local(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (_SIDE, _SIDE), _SIGMA)

    mean_x, mean_y = local(x), local(y)
    both = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    variance = local(x * x + y * y) - squares
    covariance = local(x * y) - both
    index = (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variance + _C2))
    edge = _SIDE // 2
    return float(index[edge : index.shape[0] - edge, edge : index.shape[1] - edge].mean())


class Psnr(SegmentMetric):
    """PSNR of finished frames against the source's, whole luma, every fifth frame: for videos that are dubbed with
    their own sound.
    """

    name = "psnr"
    unit = "dB"
    per = "shot"
    better = "higher"
    on = False
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the PSNR; NaN where nothing was drawn."""
        del segment, index
        return psnr(frame.luma(), frame.original.luma()) if frame.drawn else math.nan


class Ssim(SegmentMetric):
    """SSIM of finished frames against the source's, whole luma, every fifth frame: for videos that are dubbed with
    their own sound.
    """

    name = "ssim"
    per = "shot"
    better = "higher"
    on = False
    every = 5

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the SSIM; NaN where nothing was drawn."""
        del segment, index
        return ssim(frame.luma(), frame.original.luma()) if frame.drawn else math.nan
