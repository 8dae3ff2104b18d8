"""Contact sheets: original above result, whole frames and mouth close-ups of consecutive frames, for human
eyes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    scale = height / picture.shape[0]
    size = (max(1, round(picture.shape[1] * scale)), height)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def strip(pictures: Sequence[np.ndarray], height: int, gap: int = 2) -> np.ndarray:
    """Pictures (uint8[h,w,3] RGB) side by side at one height, ``gap`` white pixels between them."""
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    fitted = [_fit(p, height) for p in pictures]
    bar = np.full((height, gap, 3), 255, np.uint8)
    return np.concatenate([part for p in fitted for part in (p, bar)][:-1], axis=1)


def stack(rows: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Rows (uint8[h,w,3] RGB) under each other, padded with white to one width."""
    width = max(r.shape[1] for r in rows)
    padded = [np.pad(r, ((0, gap), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(padded)[:-gap]


def mouth_box(landmarks: np.ndarray, size: tuple[int, int], margin: float = 0.6) -> tuple[int, int, int, int]:
    """Square box x1, y1, x2, y2 (px, inside the picture of width, height) around the mouth of landmarks
    float[68,2].
    """
    mouth = landmarks[48:68]
    centre, half = mouth.mean(0), (0.5 + margin) * np.ptp(mouth[:, 0])
    low = np.floor(centre - half).astype(int)
    high = np.ceil(centre + half).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, size)
    return int(low[0]), int(low[1]), int(max(high[0], low[0] + 1)), int(max(high[1], low[1] + 1))


def compare(
    original: Sequence[np.ndarray],
    result: Sequence[np.ndarray],
    boxes: Sequence[tuple[int, int, int, int]],
    *,
    columns: int | None = None,
    whole: int = 3,
    height: int = 160,
) -> np.ndarray:
    """Original above result.

    Args:
        original: frames uint8[h,w,3] RGB.
        result: the dubbed frames at the same places.
        boxes: the mouth box of each frame; close-ups are cut there from both.
        columns: close-ups in one row; None: as many as the whole frames above are wide.
        whole: how many whole frames stand on top.
        height: of a close-up, px; whole frames are twice as high.

    Returns:
        uint8[H,W,3] RGB.
    """
    if not len(original) == len(result) == len(boxes):
        raise ValueError(
            f"{len(original)} original frames, {len(result)} results and {len(boxes)} boxes do not pair up"
        )
    picks = np.unique(np.linspace(0, len(original) - 1, whole).round().astype(int))
    rows = [strip([p for i in picks for p in (original[i], result[i])], 2 * height)]
    columns = columns or max(1, rows[0].shape[1] // height)
    for start in range(0, len(original), columns):
        part = range(start, min(start + columns, len(original)))
        cut = [(i, np.s_[boxes[i][1] : boxes[i][3], boxes[i][0] : boxes[i][2]]) for i in part]
        rows.append(
            stack(
                [
                    strip([original[i][s] for i, s in cut], height),
                    strip([result[i][s] for i, s in cut], height),
                ],
                gap=1,
            )
        )
    return stack(rows, gap=8)
