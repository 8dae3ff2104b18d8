"""Lines of letters that stand still in the picture, seen again in other frames of a shot."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from operators.exemplar.graphics import Line
from operators.exemplar.masks import Box

#: Lines that stand still are remembered up to this number; the letters of one are still there where their pixels differ by so many
#: grey levels at most, in the mean of the three channels.
KNOWN, SAME = 24, 20.0


class StandingLines:
    """Lines of letters that were seen somewhere in a shot and that stand still in the picture: where their pixels are seen again,
    they are there, however badly they stand out from what is behind them in that frame.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Box, np.ndarray, np.ndarray]] = []

    def learn(self, lines: Sequence[Line], rgb: np.ndarray, origin: tuple[int, int]) -> list[Box]:
        """Remember lines of a crop uint8[h, w, 3] whose first pixel lies at ``origin`` in the picture; returns what of the earlier
        ones is `seen` in it.
        """
        standing = self.seen(rgb, origin)
        for line in lines:
            if len(self._known) >= KNOWN:
                break
            x1, y1, x2, y2 = line.box
            if any(a <= x1 and b <= y1 and x2 <= c and y2 <= d for a, b, c, d in standing):
                continue
            box = (x1 + origin[0], y1 + origin[1], x2 + origin[0], y2 + origin[1])
            self._known.append((box, rgb[y1:y2, x1:x2].copy(), line.letters))
        return standing

    def seen(self, rgb: np.ndarray, origin: tuple[int, int]) -> list[Box]:
        """Boxes in a crop of the lines that are there, cut at its border."""
        found: list[Box] = []
        for (x1, y1, x2, y2), pixels, letters in self._known:
            a, b = max(x1 - origin[0], 0), max(y1 - origin[1], 0)
            c, d = min(x2 - origin[0], rgb.shape[1]), min(y2 - origin[1], rgb.shape[0])
            if c <= a or d <= b:
                continue
            part = np.s_[b + origin[1] - y1 : d + origin[1] - y1, a + origin[0] - x1 : c + origin[0] - x1]
            there = letters[part]
            if np.count_nonzero(there) < 0.3 * np.count_nonzero(letters):
                continue
            if cv2.absdiff(rgb[b:d, a:c], pixels[part])[there].mean() < SAME:
                found.append((a, b, c, d))
        return found
