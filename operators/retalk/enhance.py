"""The enhancer call of the original: align, enhance, parse and paste back every face.

After GPEN; see docs/reference.md#10-the-enhancers-call. Pictures are uint8[h, w, 3]; the functions work in
any colour order, the networks that are passed in expect their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from operators.numeric.affine import scale_of, similarity
from operators.numeric.pyramid import blend
from operators.retalk.geometry import FACE_LABELS, MOUTH_LABELS

SIZE = 512
MINIMUM_SCORE = 0.9
#: ArcFace's five points of a 96 x 112 face, the template that GPEN scales up.
_ARCFACE = np.array(
    [
        (30.29459953, 51.69630051),
        (65.53179932, 51.50139999),
        (48.02519989, 71.73660278),
        (33.54930115, 92.36550140),
        (62.72990036, 92.20410156),
    ]
)
_SMALL_FACE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16


def reference_points() -> np.ndarray:
    """float64[5, 2]: where the five points lie in the 512 square, with an inner padding of a quarter."""
    side = 112.0
    points = _ARCFACE + np.array([(side - 96) / 2, 0])
    padding = 0.25 * side
    return (points + padding) * (SIZE / (side + 2 * padding))


def alignment(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Transform of a face into the 512 square, its inverse (a second fit with the scale fixed, as in the
    original) and the scale.

    Args:
        points: float[5, 2].
    """
    points, reference = points.astype(np.float64), reference_points()
    forward, back = similarity(points, reference), similarity(reference, points)
    scale = scale_of(forward)
    turn = back[:, :2] / (scale * scale_of(back))
    inverse = np.column_stack([turn, points.mean(0) - turn @ reference.mean(0)])
    return forward, inverse, scale


def aligned_face(picture: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """uint8[512, 512, 3], bilinear, black outside the picture."""
    return cv2.warpAffine(picture, forward, (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def label_mask(labels: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """uint8[h, w]: 255 where the label map int[h, w] has one of the chosen labels."""
    return np.where(np.isin(labels, chosen), 255, 0).astype(np.uint8)


def soften(mask: np.ndarray, border: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Cut the outer border off a mask and blur it twice.

    Args:
        mask: float64[512, 512], 0 ... 1.
        border: rows and columns set to 0.

    Returns:
        The mask without its border (float64) and the soft one (float32).
    """
    sharp = mask.copy()
    for edge in (np.s_[:border], np.s_[-border:], np.s_[:, :border], np.s_[:, -border:]):
        sharp[edge] = 0
    soft = cv2.GaussianBlur(cv2.GaussianBlur(sharp, (101, 101), 11), (101, 101), 11)
    return sharp, soft.astype(np.float32)


def mouth_mask(labels: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """The mouth in the frame as the original cuts it.

    Quirk kept: the resized mask is stored as 8-bit integers of 0 ... 1, so all but full coverage becomes 0.

    Args:
        labels: int[512, 512] of ParseNet on the face box.
        box: y1, y2, x1, x2.
        size: width, height of the frame.

    Returns:
        uint8[h, w], 0 or 1.
    """
    y1, y2, x1, x2 = box
    canvas = np.zeros((size[1], size[0]), np.uint8)
    canvas[y1:y2, x1:x2] = cv2.resize(label_mask(labels, MOUTH_LABELS), (x2 - x1, y2 - y1)) / 255.0
    return canvas


def blend_at_512(a: np.ndarray, b: np.ndarray, mask: np.ndarray, levels: int) -> np.ndarray:
    """Pyramid blend of whole frames squeezed to 512 x 512 and stretched back: the original's bottleneck.

    Args:
        a: uint8[h, w, 3].
        b: uint8[h, w, 3].
        mask: float32[h, w], 1 = a.
        levels: of the pyramid.

    Returns:
        uint8[h, w, 3].
    """
    height, width = a.shape[:2]
    small_a, small_b, small_mask = (cv2.resize(p, (SIZE, SIZE)) for p in (a, b, mask.astype(np.float32)))
    mixed = np.clip(blend(small_a, small_b, small_mask, levels), 0, 255)
    return cv2.resize(mixed, (width, height)).astype(np.uint8)


def _mix(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(a * (1 - mask) + b * mask)


def process(
    picture: np.ndarray,
    original: np.ndarray,
    detections: np.ndarray,
    points: np.ndarray,
    parse: Callable[[np.ndarray], np.ndarray],
    *,
    enhance: Callable[[np.ndarray], np.ndarray] | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Align every face of a picture, enhance it if asked, and lay the faces over the original.

    Args:
        picture: uint8[h, w, 3].
        original: uint8[h, w, 3], what stays outside the faces.
        detections: float32[n, 5] x1, y1, x2, y2, score, best first.
        points: float32[n, 5, 2].
        parse: label map int[512, 512] of an aligned face uint8[512, 512, 3].
        enhance: an aligned face uint8[512, 512, 3] made better; None keeps it.
        box: y1, y2, x1, x2: blend with a pyramid inside this box (the last step of the original); None blends
            linearly.

    Returns:
        uint8[h, w, 3].

    Raises:
        ValueError: no detection reaches the score of 0.9 (the original crashes there).
    """
    height, width = picture.shape[:2]
    full_mask = np.zeros((height, width), np.float32)
    full_picture = np.zeros(original.shape, np.uint8)
    sharp_mask: np.ndarray | None = None
    for detection, face_points in zip(detections, points, strict=True):
        if detection[4] < MINIMUM_SCORE:
            continue
        forward, inverse, _ = alignment(face_points)
        face = aligned_face(picture, forward)
        better = face if enhance is None else enhance(face)
        sharp, soft = soften(label_mask(parse(better), FACE_LABELS) / 255.0)
        soft_back = cv2.warpAffine(soft, inverse, (width, height), flags=cv2.INTER_LINEAR)
        sharp_mask = cv2.warpAffine(sharp, inverse, (width, height), flags=cv2.INTER_LINEAR)
        if enhance is not None and min(detection[3] - detection[1], detection[2] - detection[0]) < 100:
            better = cv2.filter2D(better, -1, _SMALL_FACE)
        back = cv2.warpAffine(better, inverse, (width, height), flags=cv2.INTER_LINEAR)
        wins = soft_back - full_mask > 0
        full_mask[wins] = soft_back[wins]
        full_picture[wins] = back[wins]
    if sharp_mask is None:
        raise ValueError("no face with a score of 0.9 or more to lay back")
    # Quirk: only the last face's sharp mask is used.
    sharp_mask = cv2.GaussianBlur(sharp_mask, (0, 0), sigmaX=1, sigmaY=1)
    if box is None:
        mixed = _mix(original, full_picture, full_mask[..., None])
        return _mix(original, mixed, sharp_mask[..., None])
    y1, y2, x1, x2 = box
    inside = np.zeros((height, width), np.float32)
    inside[y1 : y2 - 5, x1:x2] = 1
    return blend_at_512(full_picture, original, (sharp_mask * inside).astype(np.float32), 6)
