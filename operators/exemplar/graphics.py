"""Captions and other letters in front of a face: lines of bright or of dark letters, which do not move with the head and must not be
bent with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from operators.exemplar.masks import Box
from operators.faces.geometry import EYES, OUTER_LIPS

#: Luma of a bright letter at least, how far it stands above what surrounds it, and the share of its box that it fills at least.
BRIGHT, ABOVE, FILLED = 190, 70, 0.12
#: The same of a dark letter, counted from white. Faces hold more that is dark: lashes, nostrils, beards.
DARK, BELOW, DARK_FILLED = 205, 90, 0.2
#: Strokes are thinner than this share of the face's unit, and than so many pixels at most.
STROKE, WIDEST = 0.2, 41
#: Heights of letters: pixels at least, share of the face's unit at most.
LEAST, TALLEST = 6, 0.8
#: Letters of a line at least, the length of a line and the widest gap in it, in heights of its letters.
LETTERS, LENGTH, GAP = 5, 3.0, 1.2
#: Margin around a line: share of its letters' height, and of the face's unit.
MARGIN, SOFT = 0.3, 0.08


def lines_of_letters(rgb: np.ndarray, landmarks: np.ndarray, unit: float) -> list[Box]:
    """Find lines of letters in a crop of a face.

    A line is a row of thin shapes of about one height, all bright or all dark. What lies on the lips is left out: teeth are bright, and
    the mouth is dark as well.

    Args:
        rgb: uint8[h, w, 3], the crop.
        landmarks: float32[68, 2], in pixels of the crop.
        unit: the face's size in pixels (`operators.exemplar.warp.face_unit`).

    Returns:
        Boxes x1, y1, x2, y2 of lines in the crop, margins included.
    """
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    bright = _lines(_letters(luma, landmarks, unit, (BRIGHT, ABOVE, FILLED)), luma.shape)
    # Only where mouths are drawn: below the eyes.
    top = int(np.clip(landmarks[EYES, 1].max(), 0, luma.shape[0] - 1))
    below = _letters(255 - luma[top:], landmarks - [0, top], unit, (DARK, BELOW, DARK_FILLED))
    dark = _lines(below + np.array([0, top, 0, top]), luma.shape)
    # The outlines of bright letters are dark.
    return bright + [line for line in dark if not any(_overlap(line, other) for other in bright)]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _letters(
    luma: np.ndarray, landmarks: np.ndarray, unit: float, limits: tuple[int, int, float]
) -> np.ndarray:
    """Boxes float64[n, 4] of what may be letters that are brighter than what surrounds them; ``limits`` as the constants above."""
    least, above, filled = limits
    none = np.zeros((0, 4))
    side = int(np.clip(STROKE * unit, 7, WIDEST)) | 1
    kernel = np.ones((side, side), np.uint8)
    standing = cv2.morphologyEx(luma, cv2.MORPH_TOPHAT, kernel)
    seen = ((standing > above) & (luma > least)).astype(np.uint8)
    if np.count_nonzero(seen) < LETTERS * LEAST:
        return none
    # Labelling costs by the pixel: only where anything was seen.
    left, top, wide, high = cv2.boundingRect(seen)
    _, _, stats, centres = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(seen[top : top + high, left : left + wide]), connectivity=8
    )
    tall = stats[1:, cv2.CC_STAT_HEIGHT]
    broad, area = stats[1:, cv2.CC_STAT_WIDTH], stats[1:, cv2.CC_STAT_AREA]
    shaped = (tall >= LEAST) & (tall <= TALLEST * unit) & (broad <= 4 * tall)
    shaped &= area >= filled * broad * tall
    if np.count_nonzero(shaped) < LETTERS:
        return none
    lips = np.zeros(luma.shape, np.uint8)
    cv2.fillPoly(lips, [np.round(landmarks[OUTER_LIPS]).astype(np.int32)], 1)
    letters = []
    for number in np.flatnonzero(shaped) + 1:
        x, y, width, height, _ = stats[number].tolist()
        cx, cy = centres[number]
        if not lips[int(cy + top), int(cx + left)]:
            letters.append((x + left, y + top, x + left + width, y + top + height))
    return np.array(letters, np.float64).reshape(-1, 4)


def _lines(letters: np.ndarray, shape: tuple[int, ...]) -> list[Box]:
    """Rows of letters float64[n, 4] as boxes with margins, inside a picture of that shape."""
    found: list[Box] = []
    if len(letters) < LETTERS:
        return found
    left = np.ones(len(letters), bool)
    heights = letters[:, 3] - letters[:, 1]
    for number in np.argsort(-heights, kind="stable").tolist():
        if not left[number]:
            continue
        tall = heights[number]
        middle = letters[number, [1, 3]].mean()
        apart = np.abs(letters[:, [1, 3]].mean(1) - middle)
        row = left & (apart < 0.5 * tall) & (heights > 0.4 * tall)
        row &= _chained(letters, row, number, GAP * tall)
        if row.sum() < LETTERS:
            continue
        x1, y1 = letters[row, :2].min(0)
        x2, y2 = letters[row, 2:].max(0)
        if x2 - x1 < LENGTH * tall:
            continue
        left &= ~row
        margin = MARGIN * tall
        found.append(
            (
                int(max(0, x1 - margin)),
                int(max(0, y1 - margin)),
                int(min(shape[1], x2 + margin + 1)),
                int(min(shape[0], y2 + margin + 1)),
            )
        )
    return found


def _chained(letters: np.ndarray, row: np.ndarray, seed: int, gap: float) -> np.ndarray:
    """bool[n]: those of a row that are joined to the letter `seed` by gaps of a width at most."""
    members = np.flatnonzero(row)
    members = members[np.argsort(letters[members, 0], kind="stable")]
    ends = np.maximum.accumulate(letters[members, 2])
    parts = np.concatenate([[0], np.cumsum(letters[members[1:], 0] - ends[:-1] > gap)])
    chained = np.zeros(len(letters), bool)
    chained[members[parts == parts[members == seed][0]]] = True
    return chained


def kept_in_place(lines: Sequence[Box], box: Box, unit: float) -> np.ndarray:
    """Share of each pixel that must stay as it is.

    Args:
        lines: boxes in the picture.
        box: the crop, in the picture.
        unit: the face's size in pixels.

    Returns:
        float32[h, w] of the crop: 1 on the lines, softly 0 around them.
    """
    height, width = box[3] - box[1], box[2] - box[0]
    keep = np.zeros((height, width), np.float32)
    for x1, y1, x2, y2 in lines:
        keep[max(0, y1 - box[1]) : max(0, y2 - box[1]), max(0, x1 - box[0]) : max(0, x2 - box[0])] = 1
    reach = max(1, round(SOFT * unit))
    grown = cv2.dilate(keep, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return np.maximum(keep, cv2.GaussianBlur(grown, (0, 0), 0.5 * reach))
