"""Face boxes of the full frames: padded, smoothed forward in time
(docs/reference.md#8-inputs-of-l-net-and-e-net).
"""

from __future__ import annotations

import numpy as np

#: top, bottom, left, right
DEFAULT_PADS = (0, 20, 0, 0)
WINDOW = 5


def pad_boxes(boxes: np.ndarray, pads: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Grow boxes and keep them in the picture.

    Args:
        boxes: int64[T, 4] x1, y1, x2, y2.
        pads: top, bottom, left, right, pixels.
        size: width, height of the picture.

    Returns:
        int64[T, 4] x1, y1, x2, y2.
    """
    top, bottom, left, right = pads
    width, height = size
    x1, y1, x2, y2 = boxes.T
    grown = [
        np.maximum(0, x1 - left),
        np.maximum(0, y1 - top),
        np.minimum(width, x2 + right),
        np.minimum(height, y2 + bottom),
    ]
    return np.stack(grown, 1)


def smooth_boxes(boxes: np.ndarray) -> np.ndarray:
    """The original's smoothing: each box becomes the mean of itself and the next four, truncated, in place
    and in order.

    At the end, and in clips shorter than the window, slices start from the end as in the original (quirk:
    there the window wraps).
    """
    smoothed = boxes.copy()
    for i in range(len(smoothed)):
        part = smoothed[len(smoothed) - WINDOW :] if i + WINDOW > len(smoothed) else smoothed[i : i + WINDOW]
        smoothed[i] = part.mean(axis=0)
    return smoothed


def face_boxes(
    boxes: np.ndarray, pads: tuple[int, int, int, int], size: tuple[int, int], *, smooth: bool = True
) -> np.ndarray:
    """Boxes as the original pastes into: int64[T, 4] **y1, y2, x1, x2** of detections int64[T, 4] x1, y1, x2,
    y2.
    """
    padded = pad_boxes(boxes, pads, size)
    return (smooth_boxes(padded) if smooth else padded)[:, [1, 3, 0, 2]]
