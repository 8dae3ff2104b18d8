"""Restoration of one face in a frame: align to FFHQ's 512 square, restore, paste back
(docs/reference.md#11-restoration).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 512
MINIMUM_SCORE = 0.97
#: Eyes, nose and corners of the mouth in the square.
TEMPLATE = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
_BORDER = (135, 133, 132)


def centre_index(boxes: np.ndarray, size: tuple[int, int]) -> int:
    """Index of the box float[n, >=4] (x1, y1, x2, y2) whose centre is nearest to that of the picture (width,
    height).
    """
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2
    return int(np.linalg.norm(centres - np.array(size) / 2, axis=1).argmin())


def alignment(points: np.ndarray) -> np.ndarray:
    """float64[2, 3]: partial affine transform of five points float[5, 2] onto the template, least median of
    squares.
    """
    matrix = cv2.estimateAffinePartial2D(points, TEMPLATE, method=cv2.LMEDS)[0]
    if matrix is None:
        raise ValueError(f"the five points {np.round(points, 1).tolist()} allow no alignment")
    return matrix


def aligned_face(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """uint8[512, 512, 3], bilinear, grey outside the picture."""
    return cv2.warpAffine(picture, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_CONSTANT, borderValue=_BORDER)


def paste_back(picture: np.ndarray, face: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Lay a restored face over the picture with a border that grows with the face.

    Args:
        picture: uint8[h, w, 3].
        face: uint8[512, 512, 3].
        inverse: float64[2, 3] from the square to the picture.

    Returns:
        uint8[h, w, 3].
    """
    size = (picture.shape[1], picture.shape[0])
    warped = cv2.warpAffine(face, inverse, size)
    mask = cv2.erode(
        cv2.warpAffine(np.ones((SIZE, SIZE), np.float32), inverse, size), np.ones((2, 2), np.uint8)
    )
    inside = mask[..., None] * warped
    edge = int(mask.sum() ** 0.5) // 20
    centre = cv2.erode(mask, np.ones((edge * 2, edge * 2), np.uint8))
    soft = cv2.GaussianBlur(centre, (edge * 2 + 1, edge * 2 + 1), 0)[..., None]
    return (soft * inside + (1 - soft) * picture).astype(np.uint8)


def restore(
    picture: np.ndarray, points: np.ndarray | None, network: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """A picture with one face restored.

    Args:
        picture: uint8[h, w, 3].
        points: float32[5, 2] of the face, None: the picture is returned as it is.
        network: an aligned face uint8[512, 512, 3] made better.

    Returns:
        uint8[h, w, 3].
    """
    if points is None:
        return picture
    matrix = alignment(points)
    return paste_back(picture, network(aligned_face(picture, matrix)), cv2.invertAffineTransform(matrix))
