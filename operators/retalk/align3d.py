"""The 224 x 224 crop that the 3DMM network sees (Deng et al. 2019; docs/reference.md#4-3dmm-coefficients)."""

from __future__ import annotations

import numpy as np
from PIL import Image

TARGET = 224
#: Size of a face in the crop: scale of the fitted pose times this.
RESCALE = 102.0


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Left eye, right eye, nose, left and right corner of the mouth: float[5, ...] of 68 points float[68,
    ...] (2-D or 3-D).
    """
    return np.stack(
        [
            landmarks[[36, 39]].mean(0),
            landmarks[[42, 45]].mean(0),
            landmarks[30],
            landmarks[48],
            landmarks[54],
        ],
    )


def pose_fit(points: np.ndarray, points_3d: np.ndarray) -> tuple[np.ndarray, float]:
    """Scaled orthographic pose by least squares.

    Args:
        points: float[5, 2], y up.
        points_3d: float[5, 3].

    Returns:
        Translation float64[2] and scale.
    """
    rows = np.zeros((10, 8))
    rows[0::2, 0:3], rows[0::2, 3] = points_3d, 1
    rows[1::2, 4:7], rows[1::2, 7] = points_3d, 1
    solution = np.linalg.lstsq(rows, points.reshape(10), rcond=None)[0]
    scale = (np.linalg.norm(solution[0:3]) + np.linalg.norm(solution[4:7])) / 2
    return solution[[3, 7]], float(scale)


def align(
    picture: np.ndarray, landmarks: np.ndarray | None, standard: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Crop a face for the 3DMM network.

    Args:
        picture: uint8[h, w, 3] RGB.
        landmarks: float[68, 2] pixels, y down, or None where no face was found (then the standard head in the
            middle).
        standard: float[5, 3], the five standard points (`similarity_Lm3D_all.mat`).

    Returns:
        uint8[224, 224, 3] RGB, black outside the picture, and float32[5] = width, height, scale, tx, ty (y
        up).
    """
    height, width = picture.shape[:2]
    if landmarks is None:
        points = (standard[:, :2] + 1) / 2 * np.array([width, height])
    else:
        upward = landmarks.astype(np.float64)
        upward[:, 1] = height - 1 - upward[:, 1]
        points = five_points(upward)
    (tx, ty), fitted = pose_fit(points, standard)
    scale = RESCALE / fitted
    w, h = int(width * scale), int(height * scale)
    # Rounded before it is truncated: without landmarks the offsets are whole numbers up to the last bits of
    # the solver, which differ between processors.
    left = int(round(w / 2 - TARGET / 2 + (tx - width / 2) * scale, 6))
    up = int(round(h / 2 - TARGET / 2 + (height / 2 - ty) * scale, 6))
    resized = Image.fromarray(picture).resize((w, h), resample=Image.Resampling.BICUBIC)
    crop = resized.crop((left, up, left + TARGET, up + TARGET))
    return np.asarray(crop), np.array([width, height, scale, tx, ty], np.float32)
