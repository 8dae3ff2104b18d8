"""Measures of a segment's mouths, and a model of how this person's mouth and jaw move with opening, width and
pose.

`measure` turns frontal landmarks (`operators.exemplar.pose`) into opening and width; `fit_shapes` learns the
person's own linear shape model on the segment's frames, held to a generic one where the footage says little.
Used by `fit`, `choose` and `shapes`.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from operators.faces.geometry import MIRROR, MOUTH, eye_distance

JAW_AND_MOUTH = np.concatenate([np.arange(17), MOUTH])
UPPER_INNER, LOWER_INNER = np.array([61, 62, 63]), np.array([67, 66, 65])
UPPER_OUTER, LOWER_OUTER = np.array([50, 51, 52]), np.array([58, 57, 56])
#: How much of the wanted jaw each outline point takes: the ears are fixed to the skull, the chin is all jaw.
JAW_SHARE = np.array([0, 0, 0.15, 0.4, 0.7, 0.9, 1, 1, 1, 1, 1, 0.9, 0.7, 0.4, 0.15, 0, 0])
#: Standard deviations of speech that the ridge priors are measured in: opening and width over eye distance,
#: degrees.
OPENING_SD, WIDTH_SD, ANGLE_SD = 0.05, 0.04, 5.0
#: Frames of footage that the generic model's word for opening and width is worth, and zero's word for the
#: influence of pose.
PRIOR_FRAMES, POSE_PRIOR_FRAMES = 15.0, 60.0

#: Inner lips that cross by more than this share of the eye distance are a failure of the landmarks, not a
#: firmly shut mouth.
CROSSED_LIPS = 0.04
#: A frame is not trusted whose lower face is this many times the median away from the person's shape model.
OUTLIER = 3.0


@dataclasses.dataclass(frozen=True)
class Mouths:
    """Measures of T frames, pose removed.

    Attributes:
        opening: float64[T], mean gap of the inner lips over eye distance; 0 is closed, about 0.01-0.03 where
            the landmarks' lips touch.
        width: float64[T], distance of the outer corners over eye distance.
        eye: the person's eye distance in frontal millimetres (median over the frames used).
    """

    opening: np.ndarray
    width: np.ndarray
    eye: float


def opening_of(frontal: np.ndarray, eye: float) -> np.ndarray:
    """Opening float64[...] of frontal landmarks float[..., 68, 2] mm. Linear in the landmarks, which
    `fit_shapes` builds on.
    """
    return (frontal[..., LOWER_INNER, 1] - frontal[..., UPPER_INNER, 1]).mean(-1) / eye


def width_of(frontal: np.ndarray, eye: float) -> np.ndarray:
    """Width float64[...] of frontal landmarks float[..., 68, 2] mm. Linear in the landmarks."""
    return (frontal[..., 54, 0] - frontal[..., 48, 0]) / eye


def lip_thickness(frontal: np.ndarray) -> np.ndarray:
    """Height float64[...] of both lips' red together, mm, of frontal landmarks float[..., 68, 2] mm."""
    height = frontal[..., 1]
    upper = height[..., UPPER_INNER] - height[..., UPPER_OUTER]
    lower = height[..., LOWER_OUTER] - height[..., LOWER_INNER]
    return (upper + lower).mean(-1)


def measure(frontal: np.ndarray, valid: np.ndarray) -> Mouths:
    """Opening and width of frontal landmarks float64[T, 68, 2]; eye distance from the frames of ``valid``
    bool[T] (at least one).
    """
    eye = float(np.median(eye_distance(frontal[valid])))
    return Mouths(opening_of(frontal, eye), width_of(frontal, eye), eye)


@functools.cache
def generic_opening() -> np.ndarray:
    """float64[68, 2]: millimetres that each frontal point moves when the inner lips part by one millimetre.

    Own figures after how a jaw works: the lower lip and the chin do most of it, the upper lip lifts a little,
    the corners follow half way and inwards, the outline above the jaw angle stays.
    """
    left = {
        48: (0.1, 0.28),
        49: (0.04, -0.02),
        50: (0.01, -0.15),
        51: (0, -0.18),
        60: (0.12, 0.28),
        61: (0.02, -0.18),
        62: (0, -0.24),
    }
    left |= {67: (0.02, 0.78), 66: (0, 0.84), 59: (0.05, 0.58), 58: (0.02, 0.76), 57: (0, 0.8)}
    left |= {3: (0, 0.05), 4: (0.03, 0.18), 5: (0.05, 0.38), 6: (0.03, 0.58), 7: (0.01, 0.7), 8: (0, 0.74)}
    move = _mirrored(left)
    return move / opening_of(move, 1.0)


@functools.cache
def generic_width() -> np.ndarray:
    """float64[68, 2]: millimetres that each frontal point moves when the corners of the mouth part by one
    millimetre.
    """
    left = {
        48: (-0.5, 0),
        49: (-0.3, 0),
        50: (-0.1, 0.02),
        51: (0, 0.03),
        60: (-0.45, 0),
        61: (-0.2, 0),
        67: (-0.2, 0),
    }
    left |= {59: (-0.32, -0.02), 58: (-0.16, -0.05), 57: (0, -0.06)}
    return _mirrored(left)


def _mirrored(left: dict[int, tuple[float, float]]) -> np.ndarray:
    move = np.zeros([68, 2])
    for index, (x, y) in left.items():
        move[index] = (x, y)
        move[MIRROR[index]] = (-x, y)
    return move


@dataclasses.dataclass(frozen=True)
class ShapeModel:
    """Linear model of a person's frontal landmarks.

    Attributes:
        mean: float64[68, 2] mm, at ``centre``.
        centre: float64[5], opening, width, yaw, pitch, roll that the model is centred on.
        slopes: float64[5, 68, 2], mm per unit of each of them; zero outside jaw and mouth.
    """

    mean: np.ndarray
    centre: np.ndarray
    slopes: np.ndarray

    def __call__(self, opening: np.ndarray, width: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Expected frontal landmarks float64[N, 68, 2] for opening and width float[N] and angles float[N, 3]
        (degrees).
        """
        features = np.concatenate([opening[:, None], width[:, None], angles], -1) - self.centre
        return self.mean + np.tensordot(features, self.slopes, 1)


def fit_shapes(frontal: np.ndarray, mouths: Mouths, angles: np.ndarray, valid: np.ndarray) -> ShapeModel:
    """Ridge regression of mouth and jaw on opening, width and pose.

    The part that pose explains is the error of the generic head's depths, so that a mouth may be taken from a
    frame of another pose.

    Args:
        frontal: float64[T, 68, 2] mm.
        mouths: their measures.
        angles: float64[T, 3] degrees.
        valid: bool[T], at least one.
    """
    features = np.concatenate([mouths.opening[:, None], mouths.width[:, None], angles], -1)[valid]
    points = frontal[valid]
    centre, mean = np.median(features, 0), np.median(points, 0)
    # The median is not an average of shapes whose features average to the centre: fit an intercept as well.
    scales = np.array([OPENING_SD, WIDTH_SD, ANGLE_SD, ANGLE_SD, ANGLE_SD])
    design = np.concatenate([(features - centre) / scales, np.ones([len(features), 1])], -1)
    prior = np.zeros([6, 68, 2])
    prior[0], prior[1] = generic_opening() * mouths.eye * OPENING_SD, generic_width() * mouths.eye * WIDTH_SD
    penalty = np.diag([PRIOR_FRAMES, PRIOR_FRAMES, *[POSE_PRIOR_FRAMES] * 3, 1e-3])
    left = design.T @ design + penalty
    right = np.tensordot(design.T, points - mean, 1) + np.tensordot(penalty, prior, 1)
    solved = np.linalg.solve(left, right.reshape(6, -1)).reshape(6, 68, 2)
    slopes = np.zeros([5, 68, 2])
    slopes[:, JAW_AND_MOUTH] = solved[:5, JAW_AND_MOUTH] / scales[:, None, None]
    return ShapeModel(mean + solved[5], centre, slopes)


def reliable_frames(frontal: np.ndarray, mouths: Mouths, angles: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Valid frames whose lower face this person's own shape model explains: bool[T], True for at least one
    frame of ``valid``.

    A landmark predictor that lost the mouth (motion blur, a hand, a bowed head) puts lips where no opening or
    width would, or crosses them.
    """
    plausible = valid & (mouths.opening > -CROSSED_LIPS)
    if not plausible.any():
        return valid
    left_over = (
        frontal - fit_shapes(frontal, mouths, angles, plausible)(mouths.opening, mouths.width, angles)
    )[:, JAW_AND_MOUTH]
    distance = np.linalg.norm(left_over, axis=-1).mean(-1)
    return plausible & (distance <= OUTLIER * np.median(distance[plausible]))


def set_opening_and_width(
    frontal: np.ndarray, opening: np.ndarray, width: np.ndarray, eye: float
) -> np.ndarray:
    """Move frontal mouths float64[N, 68, 2] by the generic directions so that they measure exactly
    ``opening`` and ``width`` float[N].
    """
    apart = (opening - opening_of(frontal, eye)) * eye
    moved = frontal + apart[:, None, None] * generic_opening()
    wider = (width - width_of(moved, eye)) * eye
    return moved + wider[:, None, None] * generic_width()
