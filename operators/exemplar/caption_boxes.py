"""Boxes behind captions (lower thirds, translucent bars): their straight edges must not be bent with a face any more than the
letters. Used by `graphics`.
"""

from __future__ import annotations

import cv2
import numpy as np

from operators.exemplar.masks import Box

#: Luma that changes across an edge at least, the share of a line's columns in which it does so in one direction, and how far from the
#: line an edge is looked for, in heights of its box.
STEP, STRAIGHT, REACH = 8, 0.75, 1.0
#: Pixels without an edge at which the box ends to the left and right, and pixels around the edge that belong to it.
END, EDGE = 8, 3


def with_box(line: Box, luma: np.ndarray) -> Box:
    """Extend the box of a line of letters to the box that it is written in, if there is one: to the straight edges above and below.

    Args:
        line: x1, y1, x2, y2.
        luma: uint8[h, w], the picture.

    Returns:
        x1, y1, x2, y2, inside the picture.
    """
    x1, y1, x2, y2 = line
    reach = max(4, round(REACH * (y2 - y1)))
    first, last = max(y1 - reach, 0), min(y2 + reach, len(luma))
    steps = cv2.Sobel(luma[first:last], cv2.CV_16S, 0, 1, ksize=1, borderType=cv2.BORDER_REPLICATE)
    straight = [np.sign(row[x1:x2]) * (np.abs(row[x1:x2]) >= STEP) for row in steps]
    rows = first + np.flatnonzero([abs(int(row.sum())) >= STRAIGHT * (x2 - x1) for row in straight])
    above, below = rows[rows < y1], rows[rows >= y2]
    edges = [int(part[index]) for part, index in ((above, -1), (below, 0)) if len(part)]
    for row in edges:
        x1, x2 = _extent(steps[row - first], x1, x2)
    top, bottom = min([y1, *(row - EDGE for row in edges)]), max([y2, *(row + EDGE + 1 for row in edges)])
    return x1, max(top, 0), x2, min(bottom, len(luma))


def _extent(row: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """Columns [first, last) of an edge, extended to where it ends to both sides."""
    along = np.sign(row) == np.sign(int(np.sign(row[first:last]).sum()))
    along &= np.abs(row) >= STEP
    ends = []
    for outward in (along[:first][::-1], along[last:]):
        gaps = [place for place in range(len(outward) - END + 1) if not outward[place : place + END].any()]
        ends.append(gaps[0] if gaps else len(outward))
    return first - ends[0], last + ends[1]
