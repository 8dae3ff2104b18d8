"""Reads the mark of pictures, without the original: after cuts, changes of size and frame rate, and crops up to a tenth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2

from operators.watermark.code import CODE_BITS
from operators.watermark.keys import MarkKey
from operators.watermark.picture import BLOCK, BLOCKS, CELLS, TILE, PictureLayout, picture_layout
from operators.watermark.speech_detector import Reading

#: Pixels of a cell in the pictures that are looked at, and their shorter side.
PIXELS = 2
SIDE = CELLS * PIXELS
#: Seconds of pictures that are averaged.
BIN = BLOCK / 2
#: Shares of the original's width and height that a suspect may still show.
SHARES = (1.0, 0.98, 0.96, 0.95, 0.94, 0.92, 0.9)
#: Starting times that are looked at closely for each share, those of the highest correlations.
LOOKED_AT = 4


@dataclass(frozen=True)
class Looked:
    """A suspect's pictures, reduced.

    Attributes:
        bins: float32[n, h, w], what is left of the mean picture of each `BIN` without its coarse parts.
    """

    bins: np.ndarray


class Look:
    """Reduces pictures to what a search needs, one at a time."""

    def __init__(self) -> None:
        self._sums: list[np.ndarray] = []
        self._counts: list[int] = []

    def add(self, luma: np.ndarray, seconds: float, where: np.ndarray | None = None) -> None:
        """Take the next picture.

        Args:
            luma: uint8[h, w], all of one size.
            seconds: its time from the first one on, ascending.
            where: float32[h, w], 0 to 1, where the mark may lie; None: anywhere.
        """
        height, width = luma.shape
        scale = SIDE / min(height, width)
        size = round(width * scale), round(height * scale)
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        left = np.clip(small - cv2.GaussianBlur(small, (0, 0), PIXELS), -12, 12)
        if where is not None:
            left *= cv2.resize(where, size, interpolation=cv2.INTER_AREA)
        number = int(seconds / BIN)
        while len(self._sums) <= number:
            self._sums.append(np.zeros_like(left))
            self._counts.append(0)
        self._sums[number] += left
        self._counts[number] += 1

    @property
    def looked(self) -> Looked:
        """The pictures so far."""
        if not self._sums:
            return Looked(np.zeros([0, SIDE, SIDE], np.float32))
        return Looked(np.stack([s / max(1, c) for s, c in zip(self._sums, self._counts, strict=True)]))


def read_picture(key: MarkKey, looked: Looked, cropped: bool = True) -> Reading:
    """Look for a key's mark in pictures.

    Args:
        key: whose mark.
        looked: the pictures.
        cropped: also try pictures that show a part of the original.
    """
    layout, (count, height, width) = picture_layout(key), looked.bins.shape
    none = Reading(0.0, 2, np.zeros(CODE_BITS))
    if count < 2:
        return none
    summed = _summed(layout, looked)
    best, tried = none, 0
    # One size for all shares, of small prime factors, and of single precision.
    full = tuple(next_fast_len(round(n / SHARES[-1]) + 1, real=True) for n in (height, width))
    spectra = np.conj(rfft2(summed.astype(np.float32), full)) if cropped else None
    shares = [(x, y) for x in SHARES for y in SHARES] if cropped else [(1.0, 1.0)]
    hypotheses: list[tuple[int, float, float, float, float]] = []
    for share in shares:
        room = round(width / share[0] - width) + 1, round(height / share[1] - height) + 1
        tried += len(summed) * room[0] * room[1]
        if share == (1.0, 1.0):
            hypotheses += [(t, *share, 0.0, 0.0) for t in range(len(summed))]
            continue
        whole = _known(layout, width + room[0] - 1, height + room[1] - 1, share, (width, height))
        assert spectra is not None
        surface = _correlate(spectra, full, whole, room)
        peaks = surface.reshape(len(summed), -1)
        for t in np.argsort(peaks.max(axis=1))[-LOOKED_AT:].tolist():
            top = int(np.argmax(peaks[t]))
            hypotheses.append((t, *share, float(top % room[0]), float(top // room[0])))
    smooth = [blurred(one) for one in summed]
    for t, x, y, dx, dy in hypotheses:
        z, soft = _evidence(layout, smooth[t], (x, y), (dx, dy))
        if z > best.z:
            best = Reading(z, tried, soft, t * BIN)
    return Reading(best.z, tried, best.soft, best.where)


def _summed(layout: PictureLayout, looked: Looked) -> np.ndarray:
    """Bins with the signs of each starting time, float[starts, h, w], settled."""
    # The mean over time does not belong to a mark that changes its sign.
    bins = looked.bins - looked.bins.mean(0)
    return settled(np.tensordot(_turns(layout, len(bins)), bins, axes=(1, 0)))


def settled(summed: np.ndarray) -> np.ndarray:
    """Sums of bins with their signs, float[starts, h, w], brought to one level everywhere and clipped."""
    level = np.sqrt(np.maximum(cv2.blur(np.square(summed).mean(0), (7, 7)), 0)) + 1e-3
    summed = summed / (level * np.sqrt(np.square(summed / level).mean() + 1e-12))
    return np.clip(summed, -3, 3)


def blurred(picture: np.ndarray) -> np.ndarray:
    """A picture of `settled` from which values of cells are taken."""
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.6))


def _turns(layout: PictureLayout, count: int) -> np.ndarray:
    """float32[starts, count], signs of bins for each time at which a suspect may begin."""
    each = np.repeat(layout.turns, 2)
    return np.stack([each[(np.arange(count) + start) % (2 * BLOCKS)] for start in range(2 * BLOCKS)])


def _known(
    layout: PictureLayout, width: int, height: int, share: tuple[float, float], size: tuple[int, int]
) -> np.ndarray:
    """float32[height, width], signs of the cells that carry no bit, of a picture that is larger than the suspect by its crop."""
    cells = np.where(layout.bits < 0, layout.signs, 0)
    px, py = _pitch(share, size)
    rows, columns = (((np.arange(n) + 0.5) / p).astype(int) % TILE for n, p in ((height, py), (width, px)))
    return np.asarray(cells[np.ix_(rows, columns)], np.float32)


def _pitch(share: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Pixels of a cell across and down, in a suspect that shows shares of the original's width and height."""
    width, height = size
    original = width / share[0], height / share[1]
    side = min(original)
    return side / CELLS, side / CELLS


def _correlate(
    spectra: np.ndarray, full: tuple[int, ...], whole: np.ndarray, room: tuple[int, int]
) -> np.ndarray:
    """float32[starts, room y, room x], correlation with each part of a larger pattern; `spectra` are the pictures' conjugate ones."""
    found = irfft2(spectra * rfft2(whole.astype(np.float32), full), full)
    return np.asarray(found[:, : room[1], : room[0]])


def _evidence(
    layout: PictureLayout, smooth: np.ndarray, share: tuple[float, float], offset: tuple[float, float]
) -> tuple[float, np.ndarray]:
    """The normal deviate of the known cells, and evidence for each code bit.

    A cell's sign is random and independent of the picture: the sum of signs times values has the variance of the sum of squares.
    """
    height, width = smooth.shape
    px, py = _pitch(share, (width, height))
    values, index = cell_values(smooth, (px, py), offset)
    signed, bits = values * layout.signs[index], layout.bits[index]
    known = bits < 0
    z = float(signed[known].sum() / np.sqrt(np.square(values[known]).sum() + 1e-12))
    power = np.bincount(bits[~known], np.square(values[~known]), CODE_BITS)
    soft = np.bincount(bits[~known], signed[~known], CODE_BITS)
    return z, soft / np.sqrt(max(float(power.mean()), 1e-12))


def cell_values(
    smooth: np.ndarray, pitch: tuple[float, float], offset: tuple[float, float]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Values of a picture in the middles of cells, float32[rows, columns], and their place in the pattern for `numpy.ix_` indexing.

    Args:
        smooth: float32[h, w], a picture of `settled`, blurred.
        pitch: pixels of a cell across and down.
        offset: pixels of the original left of the picture and above it.
    """
    height, width = smooth.shape
    columns, rows = int((width + offset[0]) / pitch[0]), int((height + offset[1]) / pitch[1])
    # A cell of a very wide picture that repeats an earlier one has the same sign: its evidence would not be independent.
    columns, rows = min(columns, TILE), min(rows, TILE)
    x = (np.arange(columns) + 0.5) * pitch[0] - 0.5 - offset[0]
    y = (np.arange(rows) + 0.5) * pitch[1] - 0.5 - offset[1]
    inside = np.outer((y > 0) & (y < height - 1), (x > 0) & (x < width - 1))
    grid = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    values = cv2.remap(smooth, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * inside
    return values, np.ix_(np.arange(rows) % TILE, np.arange(columns) % TILE)


def first_deviate(key: MarkKey, looked: Looked) -> float:
    """The normal deviate of the known cells at the first starting time, uncropped: one hypothesis, from N(0, 1) without a mark."""
    layout = picture_layout(key)
    return _evidence(layout, blurred(_summed(layout, looked)[0]), (1.0, 1.0), (0.0, 0.0))[0]
