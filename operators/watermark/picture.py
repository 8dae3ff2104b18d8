"""The mark of pictures: a spread spectrum in luma, constant in space and changing its sign over time.

The shorter side of the picture is divided into 96 square cells; a cell carries a sign that depends on the key and, for half of the
cells, on a bit of the codeword. All signs turn over together every half second or keep, in an order of 16 that depends on the key:
what stands still in a picture cancels out over time, and the mark does not. Strength follows the picture's own activity. Only luma
changes, and only where a weight says so.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from operators.watermark.code import CODE_BITS, encode
from operators.watermark.keys import MarkKey

#: Cells along the shorter side.
CELLS = 96
#: Seconds of a block, blocks until the signs repeat, and seconds around a block's end in which they turn over.
BLOCK, BLOCKS, TURN = 0.5, 16, 0.2
#: Length of the square of cells after which the pattern repeats.
TILE = 256
#: Levels (of 8 bits) at strength 1: least, per level of local deviation, most.
LEAST, SLOPE, MOST = 1.8, 0.25, 3.5


@dataclass(frozen=True)
class PictureLayout:
    """The layout of a key's mark of pictures.

    Attributes:
        signs: float32[TILE, TILE] of -1 and 1.
        bits: int64[TILE, TILE], number of the code bit that a cell carries; -1: none, its sign is known.
        turns: float32[BLOCKS] of -1 and 1, as many of either.
    """

    signs: np.ndarray
    bits: np.ndarray
    turns: np.ndarray


@functools.lru_cache(maxsize=8)
def picture_layout(key: MarkKey) -> PictureLayout:
    """Return what a key decides."""
    count = TILE * TILE
    bits = (key.words("picture bits", count) % np.uint32(2 * CODE_BITS)).astype(np.int64)
    bits[bits >= CODE_BITS] = -1
    turns = np.ones(BLOCKS, np.float32)
    turns[key.permutation("picture turns", BLOCKS)[: BLOCKS // 2]] = -1
    return PictureLayout(
        key.signs("picture signs", count).reshape(TILE, TILE), bits.reshape(TILE, TILE), turns
    )


@functools.lru_cache(maxsize=8)
def cell_signs(key: MarkKey, mark_id: str) -> np.ndarray:
    """float32[TILE, TILE] of -1 and 1: the pattern of an id."""
    layout = picture_layout(key)
    word = np.append(encode(key, mark_id), np.float32(1))
    return layout.signs * word[layout.bits]


def turn_at(key: MarkKey, seconds: float) -> float:
    """Factor of the pattern at a time, -1 to 1; smooth where signs turn over."""
    turns = picture_layout(key).turns
    place = seconds / BLOCK
    nearest = round(place)
    before, after = float(turns[(nearest - 1) % BLOCKS]), float(turns[nearest % BLOCKS])
    share = min(1.0, max(0.0, (place - nearest) * BLOCK / TURN + 0.5))
    return before + (after - before) * share * share * (3 - 2 * share)


def pattern(key: MarkKey, mark_id: str, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """The pattern of an id in a part of a picture: float32[h, w], -1 to 1.

    Args:
        key, mark_id: decide the signs.
        size: width and height of the whole upright picture.
        box: x1, y1, x2, y2 of the part.
    """
    pitch = min(size) / CELLS
    x1, y1, x2, y2 = box
    first = int(x1 / pitch) - 1, int(y1 / pitch) - 1
    count = int(np.ceil(x2 / pitch)) + 1 - first[0], int(np.ceil(y2 / pitch)) + 1 - first[1]
    rows, columns = (np.arange(first[n], first[n] + count[n]) % TILE for n in (1, 0))
    cells = cell_signs(key, mark_id)[np.ix_(rows, columns)]
    # A cell's middle lies at (number + 1/2) * pitch; linear between middles.
    shift = [(x1 + 0.5) / pitch - first[0] - 0.5, (y1 + 0.5) / pitch - first[1] - 0.5]
    matrix = np.array([[1 / pitch, 0, shift[0]], [0, 1 / pitch, shift[1]]], np.float64)
    found = cv2.warpAffine(
        cells,
        matrix,
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, np.float32)


def picture_change(
    pattern: np.ndarray,
    luma: np.ndarray,
    weight: np.ndarray | None,
    turn: float,
    pitch: float,
    strength: float,
) -> np.ndarray:
    """Levels to add to luma: int16[h, w], 0 wherever the weight is 0.

    Args:
        pattern: float32[h, w], as `pattern` gives it.
        luma: uint8[h, w].
        weight: float32[h, w], 0 to 1; None: 1.
        turn: as `turn_at` gives it.
        pitch: pixels of a cell.
        strength: scales the mark.
    """
    reach = max(3, int(pitch) | 1)
    mean: Any = cv2.boxFilter(luma, cv2.CV_32F, (reach, reach))
    level: Any = cv2.sqrBoxFilter(luma, cv2.CV_32F, (reach, reach))
    mean *= mean
    level -= mean
    np.maximum(level, 0, out=level)
    np.sqrt(level, out=level)
    level *= np.float32(SLOPE)
    level += np.float32(LEAST)
    np.minimum(level, np.float32(MOST), out=level)
    level *= np.float32(strength * turn)
    level *= pattern
    if weight is not None:
        level *= weight
    np.rint(level, out=level)
    change: np.ndarray = level.astype(np.int16)
    return change
