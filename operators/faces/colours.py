"""Colours of lips and of the skin around them, a few numbers a frame, by which something in front of a mouth is told from the mouth.

Written by the stage `detect` and judged over a whole shot by `operators.exemplar.covering`: light and shade change
how bright a face is, but hardly its colour.
"""

from __future__ import annotations

import cv2
import numpy as np

from operators.faces.geometry import eye_distance
from operators.media.frames import Frame

#: Cells of skin, from under the nose to the upper lip and from the lower lip to the chin (rows) by cheek to cheek (columns; those that
#: a turned head hides are left out), and of the upper and the lower lip.
SKIN, LIPS = (8, 9), (2, 9)
#: The last cell is the eyes: in pictures without colours they look like the skin.
CELLS = SKIN[0] * SKIN[1] + LIPS[0] * LIPS[1] + 1
#: A unit of the natural logarithm is so many steps of a number; a frame that was not looked at has this number everywhere.
SCALE, UNSEEN = 64, -128
#: Every second frame of the title is looked at: what covers a mouth does so for longer.
EVERY = 2
#: Grey levels that the weakest channel of nose and cheeks has at least: below them, in the dark or in the light of one colour, colours are
#: those of rounding and noise. Ten clips have 57 and more.
FAINTEST = 12
#: Pixels of an eye distance at which pictures are looked at.
EYE = 24
#: Five landmarks each of the curves between which the rows of skin lie; the outline's are drawn in by so much of the way to the mouth.
_CURVES = ((2, 31, 33, 35, 14), (4, 48, 51, 54, 12), (4, 48, 57, 54, 12), (6, 7, 8, 9, 10))
_BANDS = ((0, 1, (0.1, 0.4, 0.65, 0.9)), (2, 3, (0.1, 0.3, 0.5, 0.7)))
_INWARD = 0.15
_ACROSS = np.linspace(0.25, 0.75, SKIN[1])
_LIPS = (
    ((48, 49, 50, 51, 52, 53, 54), (60, 61, 62, 63, 64)),
    ((48, 59, 58, 57, 56, 55, 54), (60, 67, 66, 65, 64)),
)
_ALONG_LIPS = np.linspace(0.12, 0.88, LIPS[1])


def mouth_colours(frame: Frame, landmarks: np.ndarray) -> np.ndarray:
    """Return int8[CELLS, 2], of each cell the logarithms of red over green and blue over green less those of the nose and the upper
    cheeks, in steps of 1 / `SCALE`; the cells of the skin come first. The last one holds those of the eyes less those of the skin around
    them. `UNSEEN` where the picture does not show the face, or not its colours (`FAINTEST`).

    Args:
        frame: any frame.
        landmarks: float[68, 2], upright pixels.
    """
    unseen = np.full((CELLS, 2), UNSEEN, np.int8)
    if not np.isfinite(landmarks).all():
        return unseen
    landmarks = landmarks.astype(np.float64)
    eye = float(eye_distance(landmarks))
    shown = np.concatenate([landmarks[2:15], landmarks[21:23], landmarks[27:60]])
    low = np.maximum(np.floor(shown.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(shown.max(0)) + 1, frame.size).astype(int)
    if eye < 8 or (high - low < 8).any():
        return unseen
    rgb = frame.rgb((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    scale = min(EYE / eye, 1.0)
    size = [max(4, round(float(side) * scale)) for side in high - low]
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    logs = np.log(small + 8)
    colours = np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1], small.min(-1)], -1)
    bridge = landmarks[[28, 29, 30]]
    plain = np.concatenate(
        [bridge, (bridge + landmarks[[1, 2, 2]]) / 2, (bridge + landmarks[[15, 14, 14]]) / 2]
    )
    eyes = landmarks[36:48].reshape(2, 6, 2).mean(1)
    below = landmarks[[41, 46]] + 0.3 * (landmarks[28] - landmarks[27])
    upper = np.concatenate([eyes, landmarks[21:23].mean(0, keepdims=True), landmarks[[27]], below])
    points = np.concatenate([plain, _skin_cells(landmarks), _lip_cells(landmarks), upper])
    at = ((points - low + 0.5) * (np.array(size) / (high - low)) - 0.5).astype(np.float32)
    found = cv2.remap(
        colours, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )[0]
    if np.median(found[: len(plain), 2]) < FAINTEST:
        return unseen
    found = found[:, :2]
    cells = found[len(plain) : -len(upper)] - np.median(found[: len(plain)], 0)
    apart = found[-len(upper) : -len(upper) + 2].mean(0) - np.median(found[-len(upper) + 2 :], 0)
    cells = np.concatenate([cells, apart[None]])
    return np.clip(np.round(cells * SCALE), UNSEEN + 1, 127).astype(np.int8)


def _along(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Points float64[len(places), 2] of a line through float64[K, 2], at shares 0 ... 1 of its knots."""
    knots = np.linspace(0, 1, len(points))
    return np.stack([np.interp(places, knots, points[:, axis]) for axis in (0, 1)], -1)


def _skin_cells(landmarks: np.ndarray) -> np.ndarray:
    middle = landmarks[[33, 57]].mean(0)
    curves = []
    for curve in _CURVES:
        knots = landmarks[list(curve)]
        outline = (np.array(curve) < 17)[:, None]
        curves.append(_along(np.where(outline, knots + _INWARD * (middle - knots), knots), _ACROSS))
    rows = [(1 - v) * curves[upper] + v * curves[lower] for upper, lower, shares in _BANDS for v in shares]
    return np.concatenate(rows)


def _lip_cells(landmarks: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [
            (_along(landmarks[list(outer)], _ALONG_LIPS) + _along(landmarks[list(inner)], _ALONG_LIPS)) / 2
            for outer, inner in _LIPS
        ]
    )
