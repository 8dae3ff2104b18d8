"""3-D pose of every frame of a segment, and landmarks with that pose taken out ("frontal") or put back in.

Mouth shapes are compared and transferred in frontal coordinates: an affine normalisation of the picture makes
the chin long or short when the head nods (docs/exemplar.md#pose). Used by `operators.exemplar.choose_stage`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy

from operators.faces.geometry import RIGID, camera_matrix, head_model, head_pose

#: Gaussian smoothing of the rotation and of the distance to the camera, frames: heads turn slowly beside what
#: 13 rigid points jitter.
POSE_SIGMA = 2.0


def smooth_valid(values: np.ndarray, valid: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing along the first axis by valid rows only; the others get what their valid
    neighbourhood says.

    Args:
        values: float[T, ...]; rows that are not valid are ignored, whatever they hold.
        valid: bool[T], at least one True.
        sigma: frames.
    """
    known, index = np.flatnonzero(valid), np.arange(len(valid))
    after = np.clip(np.searchsorted(known, index), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(
        np.abs(known[before] - index) <= np.abs(known[after] - index), known[before], known[after]
    )
    filled = np.asarray(values, np.float64)[nearest]
    # A small weight everywhere keeps the quotient defined deep inside a gap; there it is the nearest valid
    # row.
    weight = np.where(valid, 1.0, 1e-6).reshape(-1, *[1] * (filled.ndim - 1))
    smooth = scipy.ndimage.gaussian_filter1d(filled * weight, sigma, axis=0, mode="nearest")
    return smooth / scipy.ndimage.gaussian_filter1d(weight, sigma, axis=0, mode="nearest")


@dataclasses.dataclass(frozen=True)
class PoseTrack:
    """Smoothed pose of T frames under one assumed camera.

    Attributes:
        rotation: float64[T, 3, 3], `head_model` axes to camera axes.
        translation: float64[T, 3], millimetres.
        angles: float64[T, 3], yaw, pitch, roll in degrees, signs as in `operators.faces.geometry.HeadPose`.
        focal: focal length in pixels.
        centre: float64[2], principal point in pixels.
    """

    rotation: np.ndarray
    translation: np.ndarray
    angles: np.ndarray
    focal: float
    centre: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """float64[T], pixels per millimetre at the eyes' depth."""
        return self.focal / self.translation[:, 2]

    def frontal(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks with the pose taken out: float64[T, 68, 2] millimetres in `head_model` axes, of float[T,
        68, 2] pixels.

        Each point is followed back along its ray to the depth that the generic head has there. An error of
        that depth cancels when the shape is put into a frame of similar pose.
        """
        ray = np.concatenate([(landmarks - self.centre) / self.focal, np.ones([*landmarks.shape[:2], 1])], -1)
        # Camera to head axes: X = Rt (depth * ray - t), where the third component is known.
        direction = ray @ self.rotation
        origin = np.einsum("tij,ti->tj", self.rotation, self.translation)[:, None]
        depth = (head_model()[:, 2] + origin[..., 2]) / direction[..., 2]
        return (direction * depth[..., None] - origin)[..., :2]

    def project(self, frontal: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Put frontal landmarks float[N, 68, 2] into the poses of `frames` int[N]: float64[N, 68, 2] pixels.
        Inverse of `frontal`.
        """
        depth = np.broadcast_to(head_model()[:, 2:], (*frontal.shape[:2], 1))
        camera = (
            np.concatenate([frontal, depth], -1) @ self.rotation[frames].transpose(0, 2, 1)
            + self.translation[frames][:, None]
        )
        return camera[..., :2] / camera[..., 2:] * self.focal + self.centre


def track_pose(
    landmarks: np.ndarray, valid: np.ndarray, size: tuple[int, int], sigma: float = POSE_SIGMA
) -> PoseTrack:
    """Pose of every frame: perspective-n-point a frame, rotation and distance smoothed in time, position from
    each frame's own points.

    Args:
        landmarks: float[T, 68, 2], upright pixels.
        valid: bool[T], at least one True; the other frames get their neighbourhood's pose.
        size: (width, height) of the upright picture.
        sigma: of the smoothing, frames.
    """
    rotations = np.zeros((len(valid), 3))
    for frame in np.flatnonzero(valid):
        rotations[frame] = head_pose(landmarks[frame], size).rvec
    # Heads stay within a right angle of the camera, so rotation vectors neither wrap nor bend much and may be
    # averaged.
    rotation = scipy.spatial.transform.Rotation.from_rotvec(smooth_valid(rotations, valid, sigma)).as_matrix()
    camera = camera_matrix(size)
    focal, centre = float(camera[0, 0]), camera[:2, 2]
    rigid = head_model()[RIGID] @ rotation.transpose(0, 2, 1)
    pixels = (landmarks[:, RIGID].astype(np.float64) - centre) / focal
    distance = smooth_valid(_distance(rigid, pixels), valid, sigma)
    depth = rigid[..., 2] + distance[:, None]
    position = smooth_valid((pixels * depth[..., None] - rigid[..., :2]).mean(1), valid, 1e-3)
    translation = np.concatenate([position, distance[:, None]], -1)
    # Same signs as `operators.faces.geometry.angles`, for all frames at once.
    yaw = np.arctan2(rotation[:, 2, 0], np.hypot(rotation[:, 0, 0], rotation[:, 1, 0]))
    pitch, roll = (
        -np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2]),
        np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]),
    )
    return PoseTrack(rotation, translation, np.degrees(np.stack([yaw, pitch, roll], -1)), focal, centre)


def _distance(rigid: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Least-squares distance of the head, float64[T]: turned model points [T, P, 3] mm, normalised picture
    points [T, P, 2].

    x = (X + tx) / (Z + tz) gives X - x Z = x tz - tx, linear in tz once the means over the points (tx's
    share) are taken out.
    """
    seen = pixels - pixels.mean(1, keepdims=True)
    wanted = rigid[..., :2] - pixels * rigid[..., 2:]
    wanted = wanted - wanted.mean(1, keepdims=True)
    return (seen * wanted).sum((1, 2)) / np.maximum((seen * seen).sum((1, 2)), 1e-12)
