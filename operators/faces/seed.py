"""Face found in a single picture: a pure function of the picture and the anchor, independent of earlier
frames.

Tracks start from seeds on a grid of frame numbers, so that what is found in a frame never depends on where a
segment begins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from operators.faces.backend import FaceBackend, gives_mesh
from operators.faces.canonical import transform_of_box, transform_of_landmarks, warp
from operators.faces.mesh_backend import to_68
from operators.faces.picture import FramePicture, Picture
from operators.faces.search import find_at_scale, separation
from operators.numeric.affine import apply, invert

#: A face within this `separation` of the anchor is the anchor's person; one further off must be recognised.
NEAR = 1.0
#: The detector may doubt a face a little where one is expected.
DOUBTFUL = -0.15
#: Tilts tried where no upright face is found near the anchor.
TILTS = (-35.0, 35.0)


@dataclasses.dataclass
class Look:
    """A face as seen in one frame.

    Attributes:
        landmarks: float64[68, 2], picture pixels.
        spread: float64[68], uncertainty in eye distances.
        score: the detector's.
        transform: float64[2, 3], picture -> crop.
        crop: uint8[SIDE, SIDE(, 3)]; grey where there is a mesh.
        mesh: float64[478, 3] of a backend that gives one (`backend.PictureBackend`), picture pixels.
        yaw: degrees, of the mesh; NaN without one.
    """

    landmarks: np.ndarray
    spread: np.ndarray
    score: float
    transform: np.ndarray
    crop: np.ndarray
    mesh: np.ndarray | None = None
    yaw: float = float("nan")


def crop_of(backend: FaceBackend, picture: Picture, transform: np.ndarray) -> np.ndarray:
    """Canonical crop of a picture as `Look.crop` is."""
    if isinstance(picture, FramePicture):
        return warp(picture.luma, transform)
    crop = warp(picture, transform)
    return cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) if gives_mesh(backend) else crop


def look(
    backend: FaceBackend,
    picture: Picture,
    transform: np.ndarray,
    score: float,
    guesses: int = 0,
    before: Look | None = None,
    motion: np.ndarray | None = None,
    exact: bool = True,
) -> Look:
    """Landmarks of the face that a transform points at; each guess first moves the crop to where the landmarks say the face is.

    Args:
        backend: that looks.
        picture: as the backend wants it.
        transform: float64[2, 3], to the canonical crop.
        score: of the face. A backend that gives a mesh puts its own in its place.
        guesses: looks beforehand.
        before: the face in the frame before; a mesh in it is where the crop is put, moved by ``motion``.
        motion: float64[2, 3], of the head since then; None: not known.
        exact: False: a mesh is looked at once only and has the spread of ``before``.
    """
    if gives_mesh(backend):
        mesh = None if before is None else before.mesh
        if mesh is not None and motion is not None:
            mesh = apply(motion, mesh[:, :2])
        # Its first guess is as good as the second of others.
        seen = backend.look(picture, transform, mesh, guesses > 0, exact or before is None)
        spread = seen.spread if before is None or exact else before.spread
        points = to_68(seen.mesh)
        transform = transform_of_landmarks(points)
        crop = crop_of(backend, picture, transform)
        return Look(points, spread, seen.score, transform, crop, seen.mesh, seen.yaw)
    for _ in range(guesses):
        points, _ = backend.landmarks(warp(picture, transform), exact=False)
        transform = transform_of_landmarks(apply(invert(transform), points))
    crop = warp(picture, transform)
    points, spread = backend.landmarks(crop)
    return Look(apply(invert(transform), points), spread, score, transform, crop)


@dataclasses.dataclass
class Seeder:
    """Finder of the anchor's person in single pictures.

    Attributes:
        backend: detector and landmarks.
        anchor: float32[4].
        recognise: says of a face far from the anchor (picture, landmarks) whether it is the anchor's person
            all the same.
    """

    backend: FaceBackend
    anchor: np.ndarray
    recognise: Callable[[Picture, np.ndarray], bool]

    def near(self, picture: Picture, tilted: bool) -> Look | None:
        """The face at the anchor; with ``tilted`` also heads that lie on their side."""
        width = float((self.anchor[2:] - self.anchor[:2]).mean())
        region = np.concatenate([self.anchor[:2] - 1.25 * width, self.anchor[2:] + 1.25 * width])
        for turn in (0.0, *TILTS) if tilted else (0.0,):
            boxes, scores = find_at_scale(
                self.backend, picture, width, region, turn, DOUBTFUL if turn == 0 else 0.0
            )
            apart = separation(boxes, self.anchor)
            if (apart < NEAR).any():
                best = int(np.argmin(apart - 0.2 * scores))
                seen = look(
                    self.backend, picture, transform_of_box(boxes[best], turn), float(scores[best]), guesses=2
                )
                if self._confirmed(seen):
                    return seen
        return None

    def _confirmed(self, seen: Look) -> bool:
        """A mesh tells a face from a pattern better than any detector does."""
        return seen.mesh is None or seen.score > 0

    def anywhere(self, picture: Picture) -> Look | None:
        """The face at the anchor, or else the nearest elsewhere that is recognised."""
        found = self.near(picture, tilted=True)
        if found is not None:
            return found
        width = float((self.anchor[2:] - self.anchor[:2]).mean())
        boxes, scores = find_at_scale(self.backend, picture, width)
        for index in np.argsort(separation(boxes, self.anchor)):
            seen = look(
                self.backend, picture, transform_of_box(boxes[index]), float(scores[index]), guesses=2
            )
            if self._confirmed(seen) and self.recognise(picture, seen.landmarks):
                return seen
        return None
