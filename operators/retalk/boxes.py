"""Boxes and landmarks decoded from the maps of S3FD, RetinaFace and FAN.

See docs/networks.md#s3fd, docs/networks.md#retinaface and docs/networks.md#fan.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from operators.faces.s3fd import VARIANCES, corners, decode_s3fd, suppress

__all__ = ["VARIANCES", "decode_s3fd", "suppress"]

RETINAFACE_STRIDES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
#: RetinaFace's rule for large pictures in the enhancer: longer than the first number, shrunk to the second.
ENHANCER_LONGEST, ENHANCER_SHRUNK = 1500, 1000


def best_box(detections: np.ndarray) -> np.ndarray | None:
    """int64[4] x1, y1, x2, y2: the best detection, clipped at 0 and truncated; None where there is none."""
    return np.clip(detections[0, :4], 0, None).astype(np.int64) if len(detections) else None


@lru_cache(maxsize=8)
def retinaface_anchors(height: int, width: int) -> np.ndarray:
    """float32[n, 4]: centre x, y and size w, h as fractions of the picture."""
    levels = []
    for stride, sizes in RETINAFACE_STRIDES.items():
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, size = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, sizes, indexing="ij")
        levels.append(
            np.stack([x * stride / width, y * stride / height, size / width, size / height], -1).reshape(
                -1, 4
            )
        )
    anchors = np.concatenate(levels).astype(np.float32)
    anchors.setflags(write=False)
    return anchors


def decode_retinaface(
    offsets: np.ndarray,
    scores: np.ndarray,
    landmarks: np.ndarray,
    size: tuple[int, int],
    *,
    threshold: float = 0.9,
    overlap: float = 0.4,
    most: tuple[int, int] = (5000, 750),
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and five points of one picture.

    Args:
        offsets: float32[n, 4].
        scores: float32[n, 2], softmaxed.
        landmarks: float32[n, 10].
        size: width, height of the picture that the network saw.
        threshold: scores above it count (enhancer 0.9, restoration 0.97).
        overlap: of the suppression.
        most: detections before and after the suppression.

    Returns:
        float32[m, 5] x1, y1, x2, y2, score and float32[m, 5, 2] x, y of left eye, right eye, nose, left and
        right corner of the mouth.
    """
    width, height = size
    anchors = retinaface_anchors(height, width)
    boxes = corners(anchors[:, :2], anchors[:, 2:], offsets) * np.array(
        [width, height, width, height], np.float32
    )
    points = anchors[:, None, :2] + landmarks.reshape(-1, 5, 2) * VARIANCES[0] * anchors[:, None, 2:]
    points = points * np.array([width, height], np.float32)
    chosen = np.flatnonzero(scores[:, 1] > threshold)
    chosen = chosen[scores[chosen, 1].argsort()[::-1]][: most[0]]
    detections = np.concatenate([boxes[chosen], scores[chosen, 1:2]], axis=1).astype(np.float32)
    keep = suppress(detections, overlap)[: most[1]] if len(detections) else np.zeros(0, np.int64)
    return detections[keep], points[chosen][keep].astype(np.float32)


def fan_region(box: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre float64[2] and scale (units of 200 px) of the picture region that FAN sees, from a box x1, y1,
    x2, y2.
    """
    x1, y1, x2, y2 = (float(v) for v in box[:4])
    centre = np.array([x2 - (x2 - x1) / 2, y2 - (y2 - y1) / 2 - (y2 - y1) * 0.12])
    return centre, (x2 - x1 + y2 - y1) / 195.0


def _to_picture(points: np.ndarray, centre: np.ndarray, scale: float, resolution: int) -> np.ndarray:
    """Points of a ``resolution`` grid in picture pixels, truncated to whole pixels as face-alignment 1.3
    does; float[..., 2].
    """
    step = np.float32(200.0 * scale / resolution)
    moved = np.float32(points) * step + np.float32(centre - 200.0 * scale / 2)
    return np.trunc(moved)


def fan_crop(picture: np.ndarray, centre: np.ndarray, scale: float, resolution: int = 256) -> np.ndarray:
    """uint8[256, 256, 3] that FAN sees of a picture uint8[h, w, 3]; black outside it."""
    x1, y1 = _to_picture(np.array([1.0, 1.0]), centre, scale, resolution).astype(int)
    x2, y2 = _to_picture(np.array([resolution, resolution]), centre, scale, resolution).astype(int)
    canvas = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    height, width = picture.shape[:2]
    left, right, top, bottom = max(0, x1), min(x2, width), max(0, y1), min(y2, height)
    canvas[top - y1 : bottom - y1, left - x1 : right - x1] = picture[top:bottom, left:right]
    return cv2.resize(canvas, (resolution, resolution), interpolation=cv2.INTER_LINEAR)


def decode_fan(heatmaps: np.ndarray, centre: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of one face from heat maps.

    Args:
        heatmaps: float[68, 64, 64].
        centre: `fan_region`.
        scale: `fan_region`.

    Returns:
        float32[68, 2] in heat-map pixels and float32[68, 2] in picture pixels (whole numbers, as
        face-alignment 1.3 gives them).
    """
    points, height, width = heatmaps.shape
    index = heatmaps.reshape(points, -1).argmax(1)
    x, y = index % width, index // width
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    k = np.flatnonzero(inside)
    shift = np.zeros((points, 2), np.float32)
    shift[k, 0] = 0.25 * np.sign(heatmaps[k, y[k], x[k] + 1] - heatmaps[k, y[k], x[k] - 1])
    shift[k, 1] = 0.25 * np.sign(heatmaps[k, y[k] + 1, x[k]] - heatmaps[k, y[k] - 1, x[k]])
    found = (np.stack([x, y], 1) + 1 + shift - 0.5).astype(np.float32)
    return found, _to_picture(found, centre, scale, width).astype(np.float32)
