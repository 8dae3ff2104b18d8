"""The strength of a mark of pictures, measured while it is written."""

from __future__ import annotations

import cv2
import numpy as np

from operators.watermark.keys import MarkKey
from operators.watermark.picture import CELLS, cell_signs, turn_at
from operators.watermark.picture_detector import BIN, PIXELS, blurred, cell_values, settled

#: Cells of margin around what is drawn, whose pictures count for the local mean.
MARGIN = 3
Box = tuple[int, int, int, int]


class PictureTally:
    """Looks at marked pictures as the detector does, knowing id, place and time.

    Args:
        key, mark_id: of the mark.
        size: width and height of the upright picture.
    """

    def __init__(self, key: MarkKey, mark_id: str, size: tuple[int, int]) -> None:
        self._key, self._id, self._size = key, mark_id, size
        self._scale = CELLS * PIXELS / min(size)
        self._bins: dict[int, tuple[np.ndarray, int]] = {}

    def around(self, box: Box) -> Box:
        """The part of the picture that `add` wants for a box that was marked: whole small pixels, with a margin."""
        margin = MARGIN * PIXELS
        low = [max(0, int(at * self._scale) - margin) for at in box[:2]]
        high = [int(np.ceil(at * self._scale)) + margin for at in box[2:]]
        x1, y1 = (round(at / self._scale) for at in low)
        x2, y2 = (min(n, round(at / self._scale)) for at, n in zip(high, self._size, strict=True))
        return x1, y1, x2, y2

    def add(self, luma: np.ndarray, around: Box, box: Box, weight: np.ndarray | None, seconds: float) -> None:
        """Take a marked picture.

        Args:
            luma: uint8[h, w] of `around`, with the mark.
            around: of the box.
            box: that was marked.
            weight: float32[h, w] of the box, 0 where nothing was marked; None: 1.
            seconds: its time from the video's beginning.
        """
        shape = tuple(round(n * self._scale) for n in self._size[::-1])
        left, top = (round(at * self._scale) for at in around[:2])
        width = min(shape[1] - left, round((around[2] - around[0]) * self._scale))
        height = min(shape[0] - top, round((around[3] - around[1]) * self._scale))
        if width < 2 or height < 2:
            return
        small = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        own = np.clip(small - cv2.GaussianBlur(small, (0, 0), PIXELS), -12, 12)
        where = np.zeros(luma.shape, np.float32)
        inside = where[box[1] - around[1] : box[3] - around[1], box[0] - around[0] : box[2] - around[0]]
        inside[...] = 1 if weight is None else weight[: inside.shape[0], : inside.shape[1]]
        own *= cv2.resize(where, (width, height), interpolation=cv2.INTER_AREA)
        number = int(seconds / BIN)
        total, count = self._bins.get(number, (np.zeros(shape, np.float32), 0))
        total[top : top + height, left : left + width] += own
        self._bins[number] = total, count + 1

    @property
    def power(self) -> float:
        """Square of the normal deviate of all cells together, as they are written; 0 where nothing is."""
        if not self._bins:
            return 0.0
        bins = np.stack([total / count for total, count in self._bins.values()])
        if len(bins) > 1:
            bins -= bins.mean(0)
        # In the middle of a bin signs do not turn over.
        turns = np.array([np.sign(turn_at(self._key, (number + 0.5) * BIN)) for number in self._bins])
        summed = settled(np.tensordot(turns, bins, axes=(0, 0))[None])[0]
        values, index = cell_values(blurred(summed), (float(PIXELS), float(PIXELS)), (0.0, 0.0))
        signed = values * cell_signs(self._key, self._id)[index]
        z = float(signed.sum() / np.sqrt(np.square(signed).sum() + 1e-12))
        return max(0.0, z) ** 2
