"""Crops of the default mode: a crop that follows the head for D-Net, a face box for L-Net and E-Net, both
smoothed over time.

The original fixes one crop for the whole clip, in which a moving head drifts, and smooths face boxes with a
window that looks ahead. Here crop and box follow the landmarks; what D-Net's window needs of neighbouring
frames is expressed in the crop of the frame itself (`move_pose`), as if the clip had been cut with that one.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.signal import savgol_filter

from operators.media.frames import Frame
from operators.numeric.masks import runs
from operators.retalk.geometry import CROP
from operators.retalk.oriented_crops import oriented_crops

#: Savitzky-Golay: frames of the window, degree. Beyond the ends of a run of frames the polynomial of its last
#: window holds, so that a frame's result depends on up to `REACH` frames on either side.
WINDOW, DEGREE = 11, 2
REACH = WINDOW - 1
#: S3FD's boxes, which the networks were trained on, begin this share of the distance from brows to chin above
#: the brows.
FOREHEAD = 0.3


def smooth(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Savitzky-Golay over each run of valid frames; short runs get a polynomial of a lower degree.

    Args:
        values: float[T, k].
        valid: bool[T].

    Returns:
        float64[T, k]; rows that are not valid are 0.
    """
    result = np.zeros(values.shape, np.float64)
    for start, stop in runs(valid):
        n = stop - start
        if n >= WINDOW:
            result[start:stop] = savgol_filter(values[start:stop], WINDOW, DEGREE, axis=0, mode="interp")
        else:
            time = np.arange(n, dtype=np.float64)
            fit = np.polynomial.polynomial.polyfit(time, values[start:stop], min(DEGREE, (n + 1) // 3))
            result[start:stop] = np.polynomial.polynomial.polyval(time, fit).T
    return result


def crop_boxes(landmarks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The square around each head that D-Net sees: FFHQ's, upright.

    Args:
        landmarks: float32[T, 68, 2], pixels.
        valid: bool[T].

    Returns:
        int64[T, 4] x1, y1, x2, y2; may leave the picture; 0 where not valid.
    """
    squares = np.zeros((len(landmarks), 3))
    if valid.any():
        corners = oriented_crops(landmarks[valid].astype(np.float64))
        low, high = corners.min(1), corners.max(1)
        squares[valid] = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True) / 2], axis=1)
    squares = smooth(squares, valid)
    half = np.maximum(np.rint(squares[:, 2:]), 8)
    corner = np.rint(squares[:, :2]) - half
    return np.where(valid[:, None], np.concatenate([corner, corner + 2 * half], axis=1), 0).astype(np.int64)


def face_boxes(
    landmarks: np.ndarray, valid: np.ndarray, pads: tuple[int, int, int, int], size: tuple[int, int]
) -> np.ndarray:
    """The box of each face that L-Net and E-Net see, as the original's detector would draw it, from the
    landmarks.

    Args:
        landmarks: float32[T, 68, 2], pixels.
        valid: bool[T].
        pads: top, bottom, left, right, pixels.
        size: width and height of the picture.

    Returns:
        int64[T, 4] x1, y1, x2, y2 inside the picture; 0 where not valid.
    """
    least, most = landmarks.min(1), landmarks.max(1)
    brows = landmarks[:, 17:27, 1].min(1)
    top = brows - FOREHEAD * (most[:, 1] - brows)
    boxes = smooth(np.stack([least[:, 0], top, most[:, 0], most[:, 1]], 1), valid)
    boxes += np.array([-pads[2], -pads[0], pads[3], pads[1]])
    limits = np.array(size)
    low = np.rint(boxes[:, :2]).clip(
        0, limits - 2
    )  # a box holds at least two pixels, wherever the face has gone
    boxes = np.concatenate([low, np.maximum(np.rint(boxes[:, 2:]).clip(0, limits), low + 2)], axis=1).astype(
        np.int64
    )
    return np.where(valid[:, None], boxes, 0)


def cut(frame: Frame, box: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """A box of a frame, scaled: uint8[height, width, 3] RGB. Outside the picture its edge is repeated."""
    x1, y1, x2, y2 = (int(v) for v in box)
    w, h = frame.size
    inner = max(0, min(x1, w - 1)), max(0, min(y1, h - 1)), min(w, max(x2, 1)), min(h, max(y2, 1))
    picture = frame.rgb(inner)
    top, bottom, left, right = (
        max(0, b) for b in (inner[1] - y1, y2 - inner[3], inner[0] - x1, x2 - inner[2])
    )
    if top or bottom or left or right:
        picture = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return scaled(picture, width, height or width)


def scaled(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture in another size: averaged where it shrinks, bicubic where it grows."""
    shrinks = picture.shape[0] * picture.shape[1] > width * height
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def into_box(box: np.ndarray, side: int) -> np.ndarray:
    """float64[2, 3]: affine from picture pixels into a square picture of a box (pixel centres at whole
    numbers).
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    sx, sy = side / (x2 - x1), side / (y2 - y1)
    return np.array([[sx, 0, (0.5 - x1) * sx - 0.5], [0, sy, (0.5 - y1) * sy - 0.5]])


def move_pose(parameters: np.ndarray, boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Pose parameters of other frames' crops as they would be in this frame's.

    Args:
        parameters: float32[n, 3] scale, tx, ty (y up, pixels of the 256 crop) of `align3d.align`.
        boxes: int64[n, 4], the crops they were measured in.
        box: int64[4], the crop they are wanted in.

    Returns:
        float32[n, 3].
    """
    ratio = (boxes[:, 2] - boxes[:, 0]) / (box[2] - box[0])
    pixel = CROP / (box[2] - box[0])
    shift = (boxes[:, :2] - box[:2]) * pixel
    # Pixel centres: a coordinate q of one crop is (q + 0.5) * ratio + shift - 0.5 in the other.
    x = (parameters[:, 1] + 0.5) * ratio + shift[:, 0] - 0.5
    y = CROP - 1 - ((CROP - 1 - parameters[:, 2] + 0.5) * ratio + shift[:, 1] - 0.5)
    return np.stack([parameters[:, 0] / ratio, x, y], 1).astype(np.float32)
