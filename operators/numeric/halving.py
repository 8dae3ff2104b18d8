"""Means of samples in a smaller size."""

from __future__ import annotations

import cv2
import numpy as np


def halved_to(samples: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduce a picture to the means of its samples, by halves as long as that comes out even, which OpenCV does many times as fast as
    any other reduction.

    Args:
        samples: [h, w] or [h, w, c] of any dtype that OpenCV resizes; rounded at every step.
        size: width and height, of which the picture's are a power of two times, or nearly.

    Returns:
        The picture in that size, same dtype; itself where it has that size.
    """
    width, height = size
    rows, columns = samples.shape[:2]
    while rows >= 2 * height and columns >= 2 * width and not (rows % 2 or columns % 2):
        rows, columns = rows // 2, columns // 2
        samples = cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA)
    if (columns, rows) == size:
        return samples
    return cv2.resize(samples, size, interpolation=cv2.INTER_AREA)


def halved(values: np.ndarray) -> np.ndarray:
    """Means over squares of 2 x 2, counted from the first; a last odd row or column counts as twice there: [ceil(h / 2), ceil(w / 2)]
    of [h, w] of any dtype that OpenCV resizes.
    """
    height, width = values.shape[:2]
    if height % 2 or width % 2:
        values = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = values.shape[1] // 2, values.shape[0] // 2
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)
