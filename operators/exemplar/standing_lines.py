"""Lines of letters seen again in other frames of a shot: where they stand, and where they have moved to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from operators.exemplar.graphics import Line
from operators.exemplar.masks import Box

#: Lines that stand still are remembered up to this number, the one that was seen longest ago makes room; the letters of one are still there
#: where their pixels differ by so many grey levels at most, in the mean of the three channels.
KNOWN, SAME = 24, 20.0
#: A caption that fades in or out: the detail of its box (luma less its blur, so many pixels wide) correlates with what was learnt by this
#: at least, and has this share of its contrast.
FADED, CONTRAST, DETAIL = 0.5, 0.05, 9
#: Two finds are of one line where they share so much of their width and of the lower one's height.
WIDE = 0.9
#: Share of a line's letters that must lie in the picture for it to be seen.
SHOWN = 0.3
#: A line moves from frame to frame by so many pixels along itself at most, or by this share of its height, and by so many across.
ALONG, ALONG_SHARE, ACROSS = 4, 0.4, 3


@dataclasses.dataclass(frozen=True)
class _Known:
    """A line in the picture, its pixels, the mask of its letters, of what is around them, and the detail of the whole box."""

    box: Box
    pixels: np.ndarray
    letters: np.ndarray
    around: np.ndarray
    detail: np.ndarray

    @classmethod
    def of(cls, line: Line, rgb: np.ndarray, origin: tuple[int, int]) -> _Known:
        x1, y1, x2, y2 = line.box
        pixels = rgb[y1:y2, x1:x2].copy()
        around = cv2.dilate(line.letters.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return cls(placed(line.box, origin), pixels, line.letters, around, _detail(pixels))


class StandingLines:
    """Lines of letters that were seen somewhere in a shot and that stand still in the picture: where their pixels are seen again,
    they are there, however badly they stand out from what is behind them in that frame, and so they are while they fade.
    """

    def __init__(self) -> None:
        #: Those seen last come last.
        self._known: list[_Known] = []

    def __bool__(self) -> bool:
        """Tell whether any is remembered."""
        return bool(self._known)

    def learn(self, lines: Sequence[Line], rgb: np.ndarray, origin: tuple[int, int]) -> None:
        """Remember lines of a crop uint8[h, w, 3] whose first pixel lies at ``origin`` in the picture, but for those that are known."""
        for line in lines:
            box = placed(line.box, origin)
            if any(_within(box, one.box) and _stands(one, rgb, origin) for one in self._known):
                continue
            # Found with less beside it than before.
            others = [one for one in self._known if not _within(one.box, box)]
            self._known = [*others[-(KNOWN - 1) :], _Known.of(line, rgb, origin)]

    def seen(self, rgb: np.ndarray, origin: tuple[int, int]) -> list[Box]:
        """Boxes in a crop of the lines that are there, cut at its border."""
        found: list[Box] = []
        there, absent = list[_Known](), list[_Known]()
        for known in self._known:
            box = _stands(known, rgb, origin)
            (absent if box is None else there).append(known)
            if box is not None:
                found.append(box)
        self._known = absent + there
        return found


class Follower:
    """A line of letters followed from frame to frame where it is not found: it may move and fade.

    Args:
        line: the line, in pixels of the crop.
        rgb: uint8[h, w, 3], the crop.
        origin: its first pixel in the picture.
    """

    def __init__(self, line: Line, rgb: np.ndarray, origin: tuple[int, int]) -> None:
        self._known = _Known.of(line, rgb, origin)
        self._moved = np.zeros(2, int)
        self._speed = np.zeros(2, int)

    def next(self, rgb: np.ndarray, origin: tuple[int, int]) -> Box | None:
        """Box in the picture where the line is in the crop uint8[h, w, 3] of the next frame; None: nowhere near."""
        x1, y1, x2, y2 = self._known.box
        reach = np.array([max(ALONG, round(ALONG_SHARE * (y2 - y1))), ACROSS])
        expected = self._moved + self._speed
        # What of the line lies in the crop wherever it is looked for.
        low = np.maximum([x1, y1], np.array(origin) + reach - expected)
        high = np.minimum([x2, y2], np.array(origin) + rgb.shape[1::-1] - reach - expected)
        if (high - low < DETAIL).any():
            return None
        part = np.s_[low[1] - y1 : high[1] - y1, low[0] - x1 : high[0] - x1]
        around = self._known.around[part]
        if np.count_nonzero(self._known.letters[part]) < SHOWN * np.count_nonzero(self._known.letters):
            return None
        (a, b), (c, d) = low + expected - reach - origin, high + expected + reach - origin
        place = np.where(around, self._known.detail[part], 0).astype(np.float32)
        alike = cv2.matchTemplate(_detail(rgb[b:d, a:c]), place, cv2.TM_CCORR)
        y, x = np.unravel_index(int(alike.argmax()), alike.shape)
        moved = expected + np.array([x, y], int) - reach
        (a, b), (c, d) = low + moved - origin, high + moved - origin
        if not _faded(_detail(rgb[b:d, a:c]), self._known.detail[part], around):
            return None
        self._speed, self._moved = moved - self._moved, moved
        return placed(self._known.box, moved)


def placed(box: Box, by: Sequence[int] | np.ndarray) -> Box:
    """A box moved by whole pixels to the right and down."""
    x1, y1, x2, y2 = (int(value + by[i % 2]) for i, value in enumerate(box))
    return x1, y1, x2, y2


def _stands(known: _Known, rgb: np.ndarray, origin: tuple[int, int]) -> Box | None:
    """Box in a crop of a known line that is there, cut at the crop's border."""
    x1, y1, x2, y2 = known.box
    a, b = max(x1 - origin[0], 0), max(y1 - origin[1], 0)
    c, d = min(x2 - origin[0], rgb.shape[1]), min(y2 - origin[1], rgb.shape[0])
    if c <= a or d <= b:
        return None
    part = np.s_[b + origin[1] - y1 : d + origin[1] - y1, a + origin[0] - x1 : c + origin[0] - x1]
    there = known.letters[part]
    if np.count_nonzero(there) < SHOWN * np.count_nonzero(known.letters):
        return None
    now = rgb[b:d, a:c]
    if cv2.absdiff(now, known.pixels[part])[there].mean() < SAME:
        return a, b, c, d
    return (a, b, c, d) if _faded(_detail(now), known.detail[part], known.around[part]) else None


def _within(one: Box, other: Box) -> bool:
    """A line is part of another, or the same one found with more above and below it."""
    shared = [min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])]
    width, height = (other[2] - other[0], other[3] - other[1])
    part = other[1] <= one[1] and one[3] <= other[3] and one[2] - one[0] < WIDE * width
    same = shared[1] > WIDE * height and height * WIDE <= one[3] - one[1]
    return shared[0] > WIDE * (one[2] - one[0]) and (part or same)


def _faded(now: np.ndarray, known: np.ndarray, around: np.ndarray) -> bool:
    """Letters are seen in a picture of the same place, though paler: details float32[h, w] of both, at the pixels bool[h, w]."""
    seen, letters = now[around], known[around]
    power = float((letters**2).sum())
    product = float((seen * letters).sum())
    return product > CONTRAST * power and product > FADED * np.sqrt(power * float((seen**2).sum()))


def _detail(picture: np.ndarray) -> np.ndarray:
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return luma - cv2.blur(luma, (DETAIL, DETAIL))
