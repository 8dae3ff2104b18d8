"""Detection of things in front of a mouth inside one frame (a microphone, a finger, a sleeve); they are
neither pasted over nor pasted.

Frames whose mouth is hidden are excluded before (`operators.faces` marks them); this is for things that reach
into its surroundings. Used by `composite`.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Width in pixels at which pictures are compared.
WIDTH = 96
#: Excess over what the other picture shows nearby, relative to the level: surely something else, and still
#: part of it. On clips without anything before the face the excess stays under 0.2, in deep shadow under 0.4.
SURE, PART = 0.42, 0.22


def compared_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height in which two pictures of that size are compared."""
    return WIDTH, max(8, round(size[1] * WIDTH / size[0]))


def differ(base: np.ndarray, mouth: np.ndarray, skin: np.ndarray) -> bool:
    """Tell whether two pictures float32[gh, gw, 3], averaged to the size of ``skin``, differ so much that `covered` has to look."""
    coarse = np.abs(base - mouth).max(-1) / (np.maximum(base, mouth).max(-1) + 30)
    return bool((coarse[skin > 0.5] > PART).any())


def covered(
    base: np.ndarray,
    mouth: np.ndarray,
    skin: np.ndarray,
) -> np.ndarray | None:
    """Find where one of two pictures of the same face, aligned and matched in tone, shows something that is
    not the face.

    Skin around the mouth looks alike in both but for folds and shadows, which the other picture shows too, a
    little aside. A colour that the other one does not show anywhere nearby is something else. On lips and
    teeth nothing can be told: they count as covered only beside what is. A hand of the face's own colour is
    not seen.

    Args:
        base, mouth: float32[h, w, 3], RGB 0..255.
        skin: float32[gh, gw], 1 on the skin around the mouth, over the same region.

    Returns:
        float32[h, w], 1 where covered with soft edges; None where nothing is.
    """
    one, other = (
        cv2.resize(picture, skin.shape[::-1], interpolation=cv2.INTER_AREA) for picture in (base, mouth)
    )
    if not differ(one, other, skin):
        return None
    height, width = base.shape[:2]
    size = compared_size((width, height))
    pictures = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (base, mouth)]
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))

    def excess(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.maximum(picture - cv2.dilate(other, near), cv2.erode(other, near) - picture).max(-1)

    level = np.maximum(*pictures).max(-1) + 30
    alien = np.maximum(excess(*pictures), excess(*pictures[::-1])) / level
    face = cv2.resize(skin, size, interpolation=cv2.INTER_LINEAR) > 0.5
    square = np.ones((3, 3), np.uint8)
    sure = cv2.erode(np.where(face, alien, 0).astype(np.float32), square) > SURE
    if not sure.any():
        return None
    beside = cv2.dilate(sure.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    _, labels = cv2.connectedComponents(((alien > PART) & (face | beside)).astype(np.uint8))
    known = np.unique(labels[sure])
    mask = np.isin(labels, known[known > 0]).astype(np.float32)
    soft = cv2.GaussianBlur(cv2.dilate(mask, np.ones((7, 7), np.uint8)), (0, 0), 1.2)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
