"""The 68 points of a face as numbers: index groups, distances, mouth measures, a generic 3-D head and the
pose of a face.

iBUG 300-W order (Sagonas et al. 2013), "left" is the viewer's left. Points are upright pixels, x right and y
down.
"""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np

JAW = np.arange(0, 17)
LEFT_BROW = np.arange(17, 22)
RIGHT_BROW = np.arange(22, 27)
NOSE = np.arange(27, 36)
LEFT_EYE = np.arange(36, 42)
RIGHT_EYE = np.arange(42, 48)
EYES = np.arange(36, 48)
OUTER_LIPS = np.arange(48, 60)
MOUTH = np.arange(48, 68)
CHIN = 8
#: Points that neither speech nor looks nor the outline's sliding moves: bridge and base of the nose, corners
#: of the eyes.
RIGID = np.array([27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])
#: The point that each point becomes in the mirrored picture.
MIRROR = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30),
        *(35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46),
        *(39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48),
        *(59, 58, 57, 56, 55),
        *(64, 63, 62, 61, 60),
        *(67, 66, 65),
    ]
)


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the centres of the two eyes (mean of six points each), pixels: float[...] of landmarks
    float[..., 68, 2].
    """
    points = np.asarray(landmarks)
    return np.linalg.norm(points[..., RIGHT_EYE, :].mean(-2) - points[..., LEFT_EYE, :].mean(-2), axis=-1)


def lip_opening(landmarks: np.ndarray) -> np.ndarray:
    """Opening between the inner lips over `eye_distance`: mean gap of the three upper and lower inner points,
    float[...], 0 = closed.

    The gap is signed along the line from upper to lower lip perpendicular to the inner corners: landmarks
    that cross count as negative and are not folded back.
    """
    points = np.asarray(landmarks, np.float64)
    corners = points[..., 64, :] - points[..., 60, :]
    normal = np.stack([-corners[..., 1], corners[..., 0]], -1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    gaps = points[..., [67, 66, 65], :] - points[..., [61, 62, 63], :]
    return (gaps * normal[..., None, :]).sum(-1).mean(-1) / np.maximum(eye_distance(points), 1e-6)


def mouth_width(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer corners of the mouth over `eye_distance`, float[...]."""
    points = np.asarray(landmarks, np.float64)
    return np.linalg.norm(points[..., 54, :] - points[..., 48, :], axis=-1) / np.maximum(
        eye_distance(points), 1e-6
    )


def bounding_box(landmarks: np.ndarray) -> np.ndarray:
    """Smallest box x1, y1, x2, y2 around the points: float32[..., 4] of float[..., 68, 2]."""
    points = np.asarray(landmarks, np.float32)
    return np.concatenate([points.min(-2), points.max(-2)], -1)


@functools.cache
def head_model() -> np.ndarray:
    """A generic adult head: float64[68, 3] in millimetres, x right, y down, z away from the camera when the
    face looks into it.

    Origin midway between the outer corners of the eyes. Own coordinates after mean adult proportions (Farkas
    1994): outer canthi 90 apart, inner 32, nasion to subnasale 50, nose 35 wide and 20 deep, mouth 50 wide,
    nasion to chin 118, face 140 wide at the ears.
    """
    left = {
        **{
            0: (-71, 3, 60),
            1: (-70, 22, 58),
            2: (-68, 40, 54),
            3: (-64, 58, 46),
            4: (-56, 76, 34),
            5: (-45, 91, 18),
            6: (-32, 103, 2),
        },
        **{
            7: (-17, 112, -12),
            8: (0, 115, -18),
            17: (-58, -17, 8),
            18: (-50, -25, -4),
            19: (-39, -28, -13),
            20: (-27, -26, -18),
        },
        **{
            21: (-15, -22, -21),
            27: (0, -3, -22),
            28: (0, 10, -28),
            29: (0, 23, -35),
            30: (0, 36, -42),
            31: (-14, 43, -21),
        },
        **{
            32: (-7, 46, -26),
            33: (0, 47, -28),
            36: (-45, 0, 0),
            37: (-36, -5, -8),
            38: (-24, -5, -11),
            39: (-16, 1, -10),
        },
        **{
            40: (-24, 4, -10),
            41: (-36, 4, -7),
            48: (-25, 70, -15),
            49: (-16, 63, -24),
            50: (-6, 59.5, -28),
            51: (0, 61, -29),
        },
        **{
            57: (0, 80, -26),
            58: (-8, 79, -25),
            59: (-17, 76, -21),
            60: (-22, 70, -17),
            61: (-8, 69, -25),
            62: (0, 69, -27),
        },
        **{66: (0, 70, -26), 67: (-8, 70, -24)},
    }
    model = np.full((68, 3), np.nan)
    for index, (x, y, z) in left.items():
        model[index] = (x, y, z)
        model[MIRROR[index]] = (-x, y, z)
    model.setflags(write=False)
    return model


@dataclasses.dataclass(frozen=True)
class HeadPose:
    """Pose of a face in front of the assumed camera (`camera_matrix`).

    Attributes:
        rvec: float64[3], Rodrigues rotation from `head_model` to camera axes.
        tvec: float64[3], millimetres.
        yaw: degrees, positive when the face turns to the picture's right.
        pitch: degrees, positive when it looks up.
        roll: degrees, positive when it tilts clockwise in the picture. Applied last: yaw and pitch are those
            of the untilted face.
        error: root mean square distance of the rigid points from the model's projection, over `eye_distance`.
    """

    rvec: np.ndarray
    tvec: np.ndarray
    yaw: float
    pitch: float
    roll: float
    error: float


def camera_matrix(size: tuple[int, int]) -> np.ndarray:
    """float64[3, 3] of an assumed camera for a picture of (width, height): focal length 1.2 times the long
    side, centred.
    """
    width, height = size
    focal = 1.2 * max(width, height)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float64)


def head_pose(landmarks: np.ndarray, size: tuple[int, int]) -> HeadPose:
    """Pose of one face: perspective-n-point on the `RIGID` points of `head_model`.

    Args:
        landmarks: float[68, 2], upright pixels.
        size: (width, height) of the picture.

    A generic head gives angles that are off by a few degrees per person and constant for them: use
        differences within a shot.
    """
    points = np.ascontiguousarray(np.asarray(landmarks, np.float64)[RIGID])
    model, camera = np.ascontiguousarray(head_model()[RIGID]), camera_matrix(size)
    # Start from the frontal head at the place and size seen: the global solvers flip near-planar point sets
    # now and then.
    across = max(float(np.linalg.norm(points[-1] - points[-4])), 1e-3)
    depth = camera[0, 0] * np.linalg.norm(model[-1] - model[-4]) / across
    middle = (points[-1] + points[-4]) / 2
    roll = np.arctan2(*(points[-1] - points[-4])[::-1])
    rvec = np.array([[0.0], [0.0], [roll]])
    tvec = np.array(
        [
            [(middle[0] - camera[0, 2]) * depth / camera[0, 0]],
            [(middle[1] - camera[1, 2]) * depth / camera[0, 0]],
            [depth],
        ]
    )
    _, rvec, tvec = cv2.solvePnP(model, points, camera, np.zeros(4), rvec, tvec, True, cv2.SOLVEPNP_ITERATIVE)
    projected = cv2.projectPoints(model, rvec, tvec, camera, np.zeros(4))[0][:, 0]
    error = np.sqrt(((projected - points) ** 2).sum(-1).mean()) / max(float(eye_distance(landmarks)), 1e-6)
    yaw, pitch, roll = angles(cv2.Rodrigues(rvec)[0])
    return HeadPose(rvec[:, 0], tvec[:, 0], yaw, pitch, roll, float(error))


def rotation_between(model: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rotation float64[3, 3] that turns a model best towards points float[K, 3] of any size and place; weights float[K]."""
    from scipy.spatial.transform import Rotation

    shares = weights / weights.sum()
    here, there = (p - shares @ p for p in (model, points))
    # Vectors of about one length: the residual that SciPy computes as well must not lose its digits.
    here, there = here / np.abs(here).max(), there / max(float(np.abs(there).max()), 1e-9)
    turn, _ = Rotation.align_vectors(there, here, weights)
    return np.asarray(turn.as_matrix())


def angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll (degrees, signs as in `HeadPose`) of a rotation float[3, 3] = Rz(roll) Ry(-yaw)
    Rx(-pitch).
    """
    yaw = np.arctan2(rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0]))
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return tuple(float(np.degrees(a)) for a in (yaw, pitch, roll))  # type: ignore[return-value]
