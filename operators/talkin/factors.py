"""A face's factors: geometry (the person), pose, and expression (what speech does), and the landmarks that they give back.

Expression is measured in one of two ways, which a trained model remembers:

* "landmarks": principal components of how lower-face landmarks leave the person's mean, pose removed, over the training data;
* "coefficients": the 64 expression numbers of the 3DMM network, less the person's mean; a linear map learned on the training data
  takes them to landmarks, as a 3DMM's basis does, which is not available.

Either way the person's amplitude is divided out: one and the same expression means the same for everybody.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from operators.exemplar.mouths import JAW_AND_MOUTH, JAW_SHARE
from operators.exemplar.pose import track_pose
from operators.faces.geometry import RIGID, eye_distance
from operators.retalk.coefficients import SLICES

Kind = Literal["landmarks", "coefficients"]
#: Share of a point's motion that counts as expression: the ears stay.
SHARE = np.concatenate([JAW_SHARE, np.ones(20)])
#: Picture and eye distance (pixels) of the camera that training data are seen with: 60 cm from the face.
CAMERA, CAMERA_EYES = (1000, 1000), 120.0
#: Least and largest amplitude that a person is taken to have, of the mean person's.
AMPLITUDE = (0.5, 2.0)
#: Weight of the ridge that maps coefficients to landmarks, in frames.
RIDGE = 10.0


def frontal_shapes(landmarks: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, float]:
    """Take the pose out of a clip's landmarks, wherever the face is in a picture of whatever size.

    Args:
        landmarks: float[T, 68, 2], pixels.
        valid: bool[T], at least one.

    Returns:
        float64[T, 68, 2] millimetres of the generic head, and the person's eye distance in them.
    """
    points = np.asarray(landmarks, np.float64)
    centre = np.median(points[valid][:, RIGID].mean(1), axis=0)
    zoom = CAMERA_EYES / max(float(np.median(eye_distance(points[valid]))), 1e-3)
    seen = (points - centre) * zoom + np.array(CAMERA) / 2
    frontal = track_pose(seen, valid, CAMERA).frontal(seen)
    return frontal, float(np.median(eye_distance(frontal[valid])))


@dataclasses.dataclass(frozen=True)
class Person:
    """A person's own factors.

    Attributes:
        mean: float64[37, 2] millimetres, mean lower face (jaw and mouth) while talking.
        eye: eye distance, millimetres.
        expression: float64[E], mean of the raw parameters.
        amplitude: of the raw parameters.
    """

    mean: np.ndarray
    eye: float
    expression: np.ndarray
    amplitude: float


@dataclasses.dataclass(frozen=True)
class Factors:
    """The meaning of expression parameters.

    Attributes:
        kind: how they are measured.
        basis: float64[E, 37, 2], landmarks in eye distances of each parameter.
        scale: float64[E], spread of the raw parameters.
    """

    kind: Kind
    basis: np.ndarray
    scale: np.ndarray

    @property
    def num_parameters(self) -> int:
        """E."""
        return len(self.scale)

    def raw(self, frontal: np.ndarray, mean: np.ndarray, eye: float, coefficients: np.ndarray) -> np.ndarray:
        """Return raw parameters float64[T, E]: standardised, but not yet free of the person.

        Args:
            frontal: float64[T, 68, 2].
            mean: float64[37, 2], `Person.mean`.
            eye: `Person.eye`.
            coefficients: float[T, 262]; not looked at with landmarks.
        """
        if self.kind == "coefficients":
            return coefficients[:, SLICES["exp"]].astype(np.float64) / self.scale
        moved = deviations(frontal, mean, eye).reshape(len(frontal), -1)
        return moved @ np.linalg.pinv(self.basis.reshape(self.num_parameters, -1))

    def person(self, frontal: np.ndarray, eye: float, coefficients: np.ndarray, valid: np.ndarray) -> Person:
        """Measure a person on frames of theirs; see `raw`. ``valid``: bool[T], at least one."""
        mean = frontal[valid][:, JAW_AND_MOUTH].mean(0)
        raw = self.raw(frontal, mean, eye, coefficients)[valid]
        centre = raw.mean(0)
        amplitude = float(np.sqrt(((raw - centre) ** 2).mean()))
        return Person(mean, eye, centre, float(np.clip(amplitude, *AMPLITUDE)))

    def expression(self, frontal: np.ndarray, person: Person, coefficients: np.ndarray) -> np.ndarray:
        """Return expression float64[T, E] of somebody's frames, free of the person."""
        raw = self.raw(frontal, person.mean, person.eye, coefficients)
        return (raw - person.expression) / person.amplitude

    def shapes(self, expression: np.ndarray, person: Person) -> np.ndarray:
        """Return the lower face float64[T, 37, 2] (millimetres, frontal) of a person with expressions float[T, E]."""
        moved = np.tensordot(expression * person.amplitude, self.basis, 1) * person.eye
        return person.mean + moved


def deviations(frontal: np.ndarray, mean: np.ndarray, eye: float) -> np.ndarray:
    """Return float64[T, 37, 2], how the lower face leaves the person's mean, in eye distances."""
    return (frontal[:, JAW_AND_MOUTH] - mean) / eye * SHARE[:, None]


def fit_factors(
    clips: Sequence[tuple[np.ndarray, float, np.ndarray]], kind: Kind, num_parameters: int = 12
) -> Factors:
    """Learn what expression is on clips, each of one person.

    Args:
        clips: of each its frontal landmarks float64[T, 68, 2], eye distance, and coefficients float[T, 262] or [0, 262].
        kind: how it is measured.
        num_parameters: components of landmarks; coefficients have 64.

    Raises:
        ValueError: a clip has no coefficients, or there are fewer frames than parameters.
    """
    moved = []
    for frontal, eye, _ in clips:
        found = deviations(frontal, frontal[:, JAW_AND_MOUTH].mean(0), eye)
        moved.append(found.reshape(len(found), -1))
    points = np.concatenate(moved) if moved else np.zeros((0, 74))
    if len(points) <= num_parameters:
        raise ValueError(
            f"{len(points)} frames are too few for {num_parameters} parameters: prepare more clips"
        )
    if kind == "landmarks":
        _, sizes, components = np.linalg.svd(points, full_matrices=False)
        scale = sizes[:num_parameters] / np.sqrt(len(points))
        basis = components[:num_parameters] * scale[:, None]
        return Factors(kind, basis.reshape(-1, 37, 2), scale)
    if any(len(coefficients) != len(frontal) for frontal, _, coefficients in clips):
        raise ValueError(
            "the data set has no 3DMM coefficients: prepare it again with the weights and --coefficients on, or use landmarks"
        )
    numbers = []
    for _, _, coefficients in clips:
        own = coefficients[:, SLICES["exp"]].astype(np.float64)
        numbers.append(own - own.mean(0))
    raw = np.concatenate(numbers)
    scale = raw.std(0) + 1e-6
    raw = raw / scale
    basis = np.linalg.solve(raw.T @ raw + RIDGE * np.eye(raw.shape[1]), raw.T @ points)
    return Factors(kind, basis.reshape(-1, 37, 2), scale)
