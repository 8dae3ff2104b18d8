"""Affine maps of the plane, and the similarity that fits points best.

A map is float64[2, 3]: ``A[:, :2] @ p + A[:, 2]``.
"""

from __future__ import annotations

import cv2
import numpy as np


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points float[..., 2]."""
    return points @ transform[:, :2].T + transform[:, 2]


def invert(transform: np.ndarray) -> np.ndarray:
    """The inverse map."""
    return cv2.invertAffineTransform(transform)


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The map that does ``inner`` first and then ``outer``."""
    return np.hstack([outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]])


def scale_of(transform: np.ndarray) -> float:
    """Enlargement of a similarity."""
    return float(np.hypot(transform[0, 0], transform[1, 0]))


def similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Least-squares similarity (rotation, scale, shift; no reflection) of points onto points (Umeyama 1991, in
    the plane).

    Args:
        source, target: float[n, 2].
        weights: float[n], positive; None: all alike.

    Returns:
        float64[2, 3]; a shift alone where all source points coincide.
    """
    a, b = (points.astype(np.float64) @ [1, 1j] for points in (source, target))
    w = np.full(len(a), 1 / len(a)) if weights is None else weights / weights.sum()
    a_mean, b_mean = (w * a).sum(), (w * b).sum()
    power = (w * np.abs(a - a_mean) ** 2).sum()
    spin = (w * np.conj(a - a_mean) * (b - b_mean)).sum() / power if power > 1e-9 else 1.0 + 0j
    shift = b_mean - spin * a_mean
    return np.array([[spin.real, -spin.imag, shift.real], [spin.imag, spin.real, shift.imag]])


def robust_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`similarity` that discounts outliers: five rounds of Cauchy weights at 1.5 times the median residual.

    Raises:
        ValueError: the points are not float[n, 2] of one number.
    """
    if source.shape != target.shape or source.shape[1:] != (2,):
        raise ValueError(f"points {list(source.shape)} and {list(target.shape)}: need the same [n, 2]")
    from operators.numeric.affine_kernels import weighted_rounds

    points = [np.ascontiguousarray(some, np.float64) for some in (source, target)]
    return np.asarray(weighted_rounds(*points, 5, 1.5))
