"""A synthetic speaker for tests: the generic head with known pose, opening and width, projected into a
picture.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from operators.exemplar.mouths import set_opening_and_width
from operators.exemplar.pose import PoseTrack
from operators.faces.geometry import camera_matrix, eye_distance, head_model
from tests.operators.faces.head import rotation_matrix

SIZE = (640, 480)
EYE = float(eye_distance(head_model()[:, :2]))


@dataclasses.dataclass(frozen=True)
class Talker:
    """landmarks float32[T,68,2] px; the truth behind them: frontal float64[T,68,2] mm, pose, opening and
    width over eye distance.
    """

    landmarks: np.ndarray
    frontal: np.ndarray
    pose: PoseTrack
    opening: np.ndarray
    width: np.ndarray


def talker(
    opening: np.ndarray,
    width: np.ndarray | float = 0.8,
    angles: np.ndarray | None = None,
    noise: float = 0.0,
    distance: float = 700.0,
) -> Talker:
    """A talking head.

    Args:
        opening: float[T] over eye distance.
        width: float[T] over eye distance, or one for all.
        angles: float[T, 3] yaw, pitch, roll in degrees; frontal if None.
        noise: standard deviation of the landmarks, pixels.
        distance: of the head from the camera, mm.
    """
    count = len(opening)
    angles = np.zeros([count, 3]) if angles is None else angles
    wide = np.broadcast_to(np.asarray(width, np.float64), count)
    frontal = np.broadcast_to(head_model()[:, :2], (count, 68, 2))
    frontal = set_opening_and_width(frontal, opening, wide, EYE)
    camera = camera_matrix(SIZE)
    rotation = np.stack([rotation_matrix(*row) for row in angles])
    translation = np.tile([10.0, -20.0, distance], (count, 1))
    pose = PoseTrack(rotation, translation, angles, float(camera[0, 0]), camera[:2, 2])
    landmarks = pose.project(frontal, np.arange(count))
    landmarks = landmarks + np.random.default_rng(0).normal(0, noise, landmarks.shape) if noise else landmarks
    return Talker(landmarks.astype(np.float32), frontal, pose, np.asarray(opening, np.float64), wide)


def speech_like(count: int, seed: int, rate: float = 25.0) -> np.ndarray:
    """float64[count], zero mean, unit variance, moving like syllables (2-4 a second)."""
    rng = np.random.default_rng(seed)
    times = np.arange(count) / rate
    waves = [
        np.sin(2 * np.pi * (f * times + rng.random())) * a
        for f, a in ((0.6, 0.6), (1.3, 0.9), (2.2, 1.0), (3.1, 0.6), (4.3, 0.25))
    ]
    total = np.sum(waves, 0)
    return (total - total.mean()) / total.std()
