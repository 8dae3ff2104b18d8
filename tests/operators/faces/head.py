"""Rotation of a head by angles that are known."""

from __future__ import annotations

import cv2
import numpy as np


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """float64[3, 3], the inverse of `operators.faces.geometry.angles`; degrees."""
    about = [(0.0, 0.0, roll), (0.0, -yaw, 0.0), (-pitch, 0.0, 0.0)]
    z, y, x = (cv2.Rodrigues(np.radians(np.array(a)))[0] for a in about)
    return z @ y @ x
