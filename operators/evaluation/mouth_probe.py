"""Opening of the mouth in a drawn frame and in the frame before it was drawn, by one look of the shape predictor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.faces.backend import make_backend
from operators.faces.canonical import SIDE, transform_of_box, transform_of_landmarks, warp
from operators.faces.dlib_backend import MODELS as DLIB_MODELS
from operators.faces.geometry import lip_opening
from operators.media.frames import Frame
from operators.numeric.affine import apply, invert
from operators.segment import Segment

#: Models of a look by their names in `retalk_models.registry.bundled`: landmarks.
MODELS = DLIB_MODELS[1:]
#: Moves of the crop to the face where only a box around it is known.
GUESSES = 2


@dataclass(frozen=True)
class FaceSight:
    """The face in one frame.

    Attributes:
        landmarks: float64[68, 2] of the source's face, pixels of the upright picture.
        source: opening of the source's mouth (`operators.faces.geometry.lip_opening`).
        dub: that of the drawn one.
    """

    landmarks: np.ndarray
    source: float
    dub: float


class MouthProbe:
    """Looks at the faces of one output segment; see `operators.evaluation.watch.Watch` for the columns."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._landmarks, self._valid = segment.get("landmarks"), segment.get("valid")
        self._boxes, self._found = segment.get("face_boxes"), segment.get("found")
        self._last: tuple[int, np.ndarray] | None = None

    def look(self, frame: Frame) -> FaceSight | None:
        """Return the face of a finished output frame, None where none is known."""
        landmarks = self.source_landmarks(frame)
        if landmarks is None:
            return None
        source = float(lip_opening(landmarks))
        if frame.drawn is None:
            return FaceSight(landmarks, source, source)
        return FaceSight(
            landmarks, source, float(lip_opening(predicted(frame, transform_of_landmarks(landmarks))))
        )

    def source_landmarks(self, frame: Frame) -> np.ndarray | None:
        """Return float64[68, 2] of the face before anything was drawn, pixels; None where none is known."""
        if self._landmarks is not None and self._valid is not None:
            t = frame.index - self._segment.frames[0]
            return np.asarray(self._landmarks[t], np.float64) if self._valid[t] else None
        if self._boxes is None or self._found is None:
            return None
        t = frame.index - self._segment.core[0]
        if not self._found[t]:
            return None
        if self._last is None or self._last[0] != frame.index:
            self._last = frame.index, found_in_box(frame.original, np.asarray(self._boxes[t], np.float64))
        return self._last[1]


def found_in_box(frame: Frame, box: np.ndarray) -> np.ndarray:
    """Return landmarks float64[68, 2] of the face that a box float[4] encloses."""
    transform = transform_of_box(box)
    for _ in range(GUESSES):
        transform = transform_of_landmarks(predicted(frame, transform))
    return predicted(frame, transform)


def predicted(frame: Frame, transform: np.ndarray) -> np.ndarray:
    """Return landmarks float64[68, 2] of the face in a frame that a transform (`operators.faces.canonical`) points at."""
    corners = apply(invert(transform), np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]], np.float64))
    width, height = frame.size
    low = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 3, low + 1, [width, height])
    picture = np.ascontiguousarray(frame.luma((int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ low
    # One box: a quarter of the time of four, and off by a seventh of an ordinary opening's change.
    points, _ = make_backend("dlib", "cpu").landmarks(warp(picture, shifted), exact=False)
    return apply(invert(transform), points)
