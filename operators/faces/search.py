"""Search for faces in a picture: at one scale around a place, or in the whole picture at growing scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from operators.faces.backend import FaceBackend
from operators.faces.picture import Picture, reduced

#: The detector's smallest face is 80 pixels; a face expected here is scaled to this width, so that it may
#: shrink by a quarter and be found.
FACE = 110
#: Long sides at which a whole picture is searched, one after the other until a face is found. Small faces
#: need the later, costlier ones.
LONG_SIDES = (480, 960, 1920)
#: Score of what is a face for certain.
CERTAIN = 0.5
#: What is no face for certain is looked into for a surer one, at this share of its width; one wider than the second share is the same.
INNER, SAME_WIDTH = 1 / 3, 0.6


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    inner = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    if inner.min() <= 0:
        return 0.0
    area = float(inner.prod())
    return area / (float(np.prod(box[2:] - box[:2])) + float(np.prod(other[2:] - other[:2])) - area)


def separation(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Distance of float32[n, 4] boxes from an anchor float32[4], in place and size: float32[n], 1 = one face
    width away.
    """
    width = (boxes[:, 2:] - boxes[:, :2]).mean(1)
    anchor_width = float((anchor[2:] - anchor[:2]).mean())
    away = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - anchor[:2] - anchor[2:]) / 2, axis=1) / (
        (width + anchor_width) / 2
    )
    return away + np.abs(np.log(width / anchor_width))


def find_at_scale(
    backend: FaceBackend,
    picture: Picture,
    face_width: float,
    region: np.ndarray | None = None,
    turn: float = 0.0,
    threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Faces about as wide as expected.

    Args:
        backend: the detector.
        picture: as the backend wants it.
        face_width: expected width in pixels; faces down to 3/4 of it are found, and larger ones.
        region: box to search, cut to the picture; None: everywhere.
        turn: degrees; finds faces that are tilted clockwise by about so much.
        threshold: least score.

    Returns:
        Boxes float32[n, 4] in the picture (upright squares, whatever ``turn``) and scores float32[n], best
        first.
    """
    height, width = picture.shape[:2]
    box = np.array([0, 0, width, height]) if region is None else np.asarray(region)
    x1, y1 = (max(int(v), 0) for v in box[:2])
    x2, y2 = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
    if x2 - x1 < 8 or y2 - y1 < 8:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    zoom = min(FACE / face_width, LONG_SIDES[-1] / max(x2 - x1, y2 - y1))
    # By halves first, which costs a fraction of any other reduction, and before it is converted to colour.
    least = min(x2 - x1, y2 - y1)
    times = int(np.clip(math.floor(-math.log2(zoom)), 0, math.log2(least)))
    x2, y2 = x1 + ((x2 - x1) >> times << times), y1 + ((y2 - y1) >> times << times)
    size = max(round((x2 - x1) * zoom), 1), max(round((y2 - y1) * zoom), 1)
    small = cv2.resize(
        reduced(picture, (x1, y1, x2, y2), times),
        size,
        interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR,
    )
    middle = (size[0] / 2, size[1] / 2)
    if turn:
        small = cv2.warpAffine(
            small, cv2.getRotationMatrix2D(middle, turn, 1.0), size, borderMode=cv2.BORDER_REPLICATE
        )
    boxes, scores = backend.detect(small, threshold)
    if turn and len(boxes):
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        back = cv2.getRotationMatrix2D(middle, -turn, 1.0)
        moved = centres @ back[:, :2].T + back[:, 2] - centres
        boxes = boxes + np.tile(moved, 2).astype(np.float32)
    scale = np.array([(x2 - x1) / size[0], (y2 - y1) / size[1]] * 2, np.float32)
    return boxes * scale + np.array([x1, y1, x1, y1], np.float32), scores


def find_anywhere(
    backend: FaceBackend, picture: Picture, sides: Sequence[int] = LONG_SIDES
) -> tuple[np.ndarray, np.ndarray]:
    """All faces of a picture at the first long side that shows one: boxes float32[n, 4], scores float32[n].

    At a long side of 480 a face must be a sixth of the picture wide, at 960 a twelfth. A small picture within the picture, with a
    face in it, may look like a face as a whole: the one inside takes its place where it is surer.
    """
    long = max(picture.shape[:2])
    for side in sides:
        if side > max(960, 2 * long):
            break
        boxes, scores = find_at_scale(backend, picture, FACE * long / side)
        if len(boxes):
            return _looked_into(backend, picture, boxes, scores)
    return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)


def _looked_into(
    backend: FaceBackend, picture: Picture, boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes float32[n, 4] and scores float32[n], with the faces inside those that are no face for certain in their places."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for number, box in enumerate(boxes):
        own = boxes[number : number + 1], scores[number : number + 1]
        width = float((box[2:] - box[:2]).mean())
        if scores[number] <= CERTAIN:
            inner, sure = find_at_scale(backend, picture, INNER * width, box, threshold=CERTAIN)
            small = (inner[:, 2:] - inner[:, :2]).mean(1) < SAME_WIDTH * width
            if small.any():
                own = inner[small], sure[small]
        found.append(own)
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])
