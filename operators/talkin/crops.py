"""The crop that the rendering network sees: the lower face upright and at one size, its hole, and drawings of landmarks."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from operators.faces.geometry import JAW, OUTER_LIPS, RIGID, head_model
from operators.numeric.affine import apply, similarity

#: Square of the generic head that the crop shows: left edge, top edge and side, millimetres.
LEFT, TOP, WIDTH = -60.0, 14.0, 120.0
#: What is painted in it: half width, top, bottom (millimetres), and the softness of its border.
HOLE = (47.0, 50.0, 130.0)
SOFT = 3.0
#: Inner lips, closed curve.
INNER_LIPS = np.arange(60, 68)
NOSE_BASE = np.arange(31, 36)
#: Bits of a pixel that drawings are exact to.
SHIFT = 4


def template(side: int) -> np.ndarray:
    """Points of the generic head in the crop, float64[68, 2] pixels."""
    return (head_model()[:, :2] - [LEFT, TOP]) * (side / WIDTH) - 0.5


def crop_transform(landmarks: np.ndarray, side: int) -> np.ndarray:
    """float64[2, 3] from picture pixels into the crop, for landmarks float[68, 2]: by eyes and nose, which speech does not move."""
    return similarity(np.asarray(landmarks, np.float64)[RIGID], template(side)[RIGID])


def crop(picture: np.ndarray, transform: np.ndarray, side: int) -> np.ndarray:
    """uint8[side, side, 3] of a picture uint8[h, w, 3]; edges are repeated outside."""
    zoom = float(np.hypot(transform[0, 0], transform[1, 0]))
    if zoom < 0.6:  # sampling would skip pixels: reduce by area first
        factor = zoom
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        fx, fy = picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0]
        enlarge = np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2], [0, 0, 1]])
        picture, transform = small, transform @ enlarge
    return cv2.warpAffine(
        picture, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


@functools.lru_cache(maxsize=8)
def hole(side: int) -> np.ndarray:
    """float32[side, side] 0 ... 1: what is painted. It is the same for all faces, so that its outline does not betray the mouth
    that was there.
    """
    half, top, bottom = HOLE
    scale = side / WIDTH
    mask = np.zeros((side, side), np.uint8)
    x1, x2 = (-half - LEFT) * scale, (half - LEFT) * scale
    y1, y2 = (top - TOP) * scale, min((bottom - TOP) * scale, side - 1 - SOFT * scale)
    radius = 18 * scale
    corners = [
        (x1 + radius, y1 + radius),
        (x2 - radius, y1 + radius),
        (x2 - radius, y2 - radius),
        (x1 + radius, y2 - radius),
    ]
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
    distance = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    soft = np.clip((radius - distance) / (SOFT * scale), 0, 1).astype(np.float32)
    soft.setflags(write=False)
    return soft


def sketch(points: np.ndarray, side: int) -> np.ndarray:
    """Drawing of landmarks float[68, 2] in a crop: uint8[2, side, side], lines of lips, jaw and nose, and the inside of the mouth."""
    drawn = np.zeros((2, side, side), np.uint8)
    fixed = np.round(np.asarray(points, np.float64) * (1 << SHIFT)).astype(np.int32)
    thick = max(1, round(side / 96))
    for curve, closed in ((JAW, False), (NOSE_BASE, False), (OUTER_LIPS, True), (INNER_LIPS, True)):
        cv2.polylines(drawn[0], [fixed[curve]], closed, 255, thick, cv2.LINE_AA, SHIFT)
    cv2.fillPoly(drawn[1], [fixed[INNER_LIPS]], 255, cv2.LINE_AA, SHIFT)
    return drawn


def in_crop(landmarks: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Landmarks float[68, 2] of the picture in the crop."""
    return apply(transform, np.asarray(landmarks, np.float64))
