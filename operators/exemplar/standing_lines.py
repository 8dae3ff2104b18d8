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
#: A caption that fades in or out: the detail of its box (luma less its blur, so many pixels wide) correlates with what was learnt by this
#: at least, and has this share of its contrast.
FADED, CONTRAST, DETAIL = 0.5, 0.05, 9
#: Two finds are of one line where they share so much of their width and of the lower one's height.
WIDE = 0.9


class StandingLines:
    """Lines of letters that were seen somewhere in a shot and that stand still in the picture: where their pixels are seen again,
    they are there, however badly they stand out from what is behind them in that frame, and so they are while they fade.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Box, np.ndarray, np.ndarray]] = []

    def learn(self, lines: Sequence[Line], rgb: np.ndarray, origin: tuple[int, int]) -> list[Box]:
        """Remember lines of a crop uint8[h, w, 3] whose first pixel lies at ``origin`` in the picture; returns what of the earlier
        ones is `seen` in it.
        """
        standing = self.seen(rgb, origin)
        for line in lines:
            if any(_within(line.box, box) for box in standing):
                continue
            x1, y1, x2, y2 = line.box
            box = (x1 + origin[0], y1 + origin[1], x2 + origin[0], y2 + origin[1])
            # Found with less beside it than before.
            self._known = [known for known in self._known if not _within(known[0], box)]
            if len(self._known) < KNOWN:
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
            now, known = rgb[b:d, a:c], pixels[part]
            if cv2.absdiff(now, known)[there].mean() < SAME or _faded(now, known, there):
                found.append((a, b, c, d))
        return found


def _within(one: Box, other: Box) -> bool:
    """A line is part of another, or the same one found with more above and below it."""
    shared = [min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])]
    width, height = (other[2] - other[0], other[3] - other[1])
    part = other[1] <= one[1] and one[3] <= other[3] and one[2] - one[0] < WIDE * width
    same = shared[1] > WIDE * height and height * WIDE <= one[3] - one[1]
    return shared[0] > WIDE * (one[2] - one[0]) and (part or same)


def _faded(now: np.ndarray, known: np.ndarray, there: np.ndarray) -> bool:
    """Letters uint8[h, w, 3], at the pixels bool[h, w], are seen in a picture of the same place, though paler."""
    around = cv2.dilate(there.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    seen, letters = (_detail(picture)[around] for picture in (now, known))
    power = float((letters**2).sum())
    product = float((seen * letters).sum())
    return product > CONTRAST * power and product > FADED * np.sqrt(power * float((seen**2).sum()))


def _detail(picture: np.ndarray) -> np.ndarray:
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return luma - cv2.blur(luma, (DETAIL, DETAIL))
