"""LMD: how far the mouth's landmarks lie from the true ones (Chen et al. 2018, "Lip Movements Generation at a
Glance").
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from operators.faces.geometry import MOUTH, eye_distance


def mouth_distance(result: np.ndarray, truth: np.ndarray, unit: Literal["eyes", "px"] = "eyes") -> float:
    """Return the mean distance of the 20 mouth landmarks to the true ones, each mouth's own centre taken out; lower is
    better.

    It needs the recording of the same person speaking the same words, frame by frame.

    Args:
        result: float[T, 68, 2] px.
        truth: float[T, 68, 2] px of the same frames.
        unit: "eyes": per cent of the true eyes' distance, so that sizes of pictures do not matter; "px": pixels, as
            papers print it for their own picture size.

    Returns:
        0 ...

    Raises:
        ValueError: the tracks do not pair up, or are empty.
    """
    if result.shape != truth.shape or result.ndim != 3 or not len(result):
        raise ValueError(
            f"landmarks of shapes {result.shape} and {truth.shape} do not pair up: need [T, 68, 2]"
        )

    def centred(points: np.ndarray) -> np.ndarray:
        mouth = points[:, MOUTH].astype(np.float64)
        return mouth - mouth.mean(1, keepdims=True)

    apart = np.linalg.norm(centred(result) - centred(truth), axis=2).mean(1)
    if unit == "eyes":
        apart = 100 * apart / np.maximum(eye_distance(truth.astype(np.float64)), 1e-6)
    return float(apart.mean())
