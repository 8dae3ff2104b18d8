"""Inputs of L-Net and E-Net: reference frames with the enhanced face laid in, crops, masked faces.

See docs/reference.md#8-inputs-of-l-net-and-e-net.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from operators.retalk.geometry import SIDE
from operators.retalk.oriented_crops import aligned_crop, inverse_perspective, paste_aligned


def reference_frame(
    frame: np.ndarray, enhanced: np.ndarray, quad: np.ndarray, clip_box: tuple[int, int, int, int]
) -> np.ndarray:
    """A full frame whose face is the enhanced, stabilised one.

    Args:
        frame: uint8[h, w, 3].
        enhanced: uint8[256, 256, 3], the stabilised crop after enhancement.
        quad: float64[4, 2], the oriented square of the face in ``enhanced``.
        clip_box: oy1, oy2, ox1, ox2 of the clip's crop in the frame.

    Returns:
        uint8[h, w, 3].
    """
    y1, y2, x1, x2 = clip_box
    result = frame.copy()
    small = cv2.resize(frame[y1:y2, x1:x2], (256, 256))
    merged = paste_aligned(small, aligned_crop(enhanced, quad), inverse_perspective(quad))
    result[y1:y2, x1:x2] = cv2.resize(merged, (x2 - x1, y2 - y1))
    return result


@dataclass(frozen=True)
class FaceInput:
    """One item for the networks: ``pair`` float32[384, 384, 6] 0..1 (masked face, reference) and ``face``
    float32[384, 384, 3] unmasked.
    """

    pair: np.ndarray
    face: np.ndarray


def face_input(frame: np.ndarray, reference: np.ndarray, box: tuple[int, int, int, int]) -> FaceInput:
    """Cut, scale and mask one face.

    Args:
        frame: uint8[h, w, 3], the source frame (BGR in the original).
        reference: uint8[h, w, 3], `reference_frame`.
        box: y1, y2, x1, x2 (`operators.retalk.face_boxes`).
    """
    y1, y2, x1, x2 = box
    face = cv2.resize(frame[y1:y2, x1:x2], (SIDE, SIDE))
    clean = cv2.resize(reference[y1:y2, x1:x2], (SIDE, SIDE))
    masked = face.copy()
    masked[SIDE // 2 :] = 0
    pair = np.concatenate([masked, clean], axis=2) / 255.0
    return FaceInput(pair.astype(np.float32), (face / 255.0).astype(np.float32))


def swap_colours(pictures: np.ndarray) -> np.ndarray:
    """BGR pictures [..., 3 * k] as RGB, or RGB as BGR: red and blue exchanged in each three channels."""
    shape = pictures.shape
    return pictures.reshape(*shape[:-1], -1, 3)[..., ::-1].reshape(shape)


def paste_face(frame: np.ndarray, face: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """A frame with a generated face pasted hard into its box.

    Args:
        frame: uint8[h, w, 3].
        face: float32[384, 384, 3], 0 ... 1; truncated to 8 bits as in the original.
        box: y1, y2, x1, x2.

    Returns:
        uint8[h, w, 3].
    """
    y1, y2, x1, x2 = box
    result = frame.copy()
    result[y1:y2, x1:x2] = cv2.resize((face * 255.0).astype(np.uint8), (x2 - x1, y2 - y1))
    return result
