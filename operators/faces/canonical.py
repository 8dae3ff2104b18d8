"""The canonical crop: a face turned upright and scaled to one size, so that every later step sees the same
picture of it.

Transforms are maps of `operators.numeric.affine`.
"""

from __future__ import annotations

import cv2
import numpy as np

from operators.faces.geometry import EYES, eye_distance, head_model
from operators.faces.picture import Picture, reduced
from operators.numeric.affine import apply, compose, invert, scale_of, similarity

#: Side of the crop and of the face box in its middle, pixels. Landmarks gain nothing from a larger one.
SIDE = 360
BOX = 240
#: Face boxes of dlib's detector are this many eye distances wide and centred this far below the eyes (mean
#: over frontal faces).
BOX_EYES = 2.35
BOX_BELOW_EYES = 0.45
#: Pictures that would be reduced more than this are averaged beforehand.
LEAST_ZOOM = 0.6
#: Points whose similarity fit places the crop: brows, nose and eyes. The jaw slides with pose and the mouth
#: moves.
STABLE = np.arange(17, 48)
EYE = BOX / BOX_EYES


def _template() -> np.ndarray:
    """float64[68, 2]: the generic head seen from the front, in crop pixels."""
    front = head_model()[:, :2]
    front = (front - front[EYES].mean(0)) / eye_distance(front) * EYE
    return front + np.array([SIDE / 2, SIDE / 2 - BOX_BELOW_EYES * EYE])


TEMPLATE = _template()


def transform_of_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Picture -> crop, for landmarks float[68, 2] in the picture."""
    return similarity(landmarks[STABLE], TEMPLATE[STABLE])


def transform_of_box(box: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Picture -> crop, for a detector's box; ``roll`` degrees is how far the face in it is tilted clockwise."""
    zoom = BOX / max((box[2] - box[0] + box[3] - box[1]) / 2, 1e-3)
    turn = np.radians(-roll)
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    return np.hstack([linear, ([SIDE / 2, SIDE / 2] - linear @ centre)[:, None]])


def box_of_transform(transform: np.ndarray) -> np.ndarray:
    """float32[4]: the upright square in the picture with the centre and the side of the crop's face box."""
    centre = apply(invert(transform), np.array([SIDE / 2, SIDE / 2]))
    half = BOX / 2 / scale_of(transform)
    return np.array([*(centre - half), *(centre + half)], np.float32)


def _extent(transform: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """int64[2] each: least and greatest x and y in the picture of what a crop of ``side`` pixels shows."""
    corners = apply(invert(transform), np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float64))
    return np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)


def warp(picture: Picture, transform: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Crop a picture by a transform into its crop uint8[side, side(, 3)]; edges are repeated outside."""
    zoom = scale_of(transform)
    height, width = picture.shape[:2]
    if zoom < LEAST_ZOOM:
        # Bilinear sampling would skip pixels: halve the region first, which is by far the fastest way to average.
        times = int(np.ceil(np.log2(LEAST_ZOOM / zoom)))
        shrink = 1 << times
        low, high = _extent(transform, side)
        # Whole chroma samples.
        (x1, y1), (x2, y2) = (low - shrink) // 2 * 2, high + 2 * shrink
        x1, x2 = (int(np.clip(v, 0, width)) for v in (x1, x2))
        y1, y2 = (int(np.clip(v, 0, height)) for v in (y1, y2))
        size = (x2 - x1) >> times, (y2 - y1) >> times
        if min(size) >= 4:
            box = x1, y1, x1 + (size[0] << times), y1 + (size[1] << times)
            picture = reduced(picture, box, times)
            enlarge = np.array([[shrink, 0, x1 + (shrink - 1) / 2], [0, shrink, y1 + (shrink - 1) / 2]])
            transform = compose(transform, enlarge)
    if not isinstance(picture, np.ndarray):
        low, high = _extent(transform, side)
        # One pixel more on each side than is sampled, and one at least where the crop lies outside.
        x1, y1 = (int(v) for v in np.clip(low - 2, 0, [width - 1, height - 1]))
        x2, y2 = (int(v) for v in np.clip(high + 3, [x1 + 1, y1 + 1], [width, height]))
        picture = picture[y1:y2, x1:x2]
        transform = compose(transform, np.array([[1.0, 0, x1], [0, 1, y1]]))
    return cv2.warpAffine(
        picture, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
