"""Three consecutive drawn frames now and then, for metrics of steadiness."""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np

from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.segment import Segment

#: Output frames from one group of three consecutive frames to the next.
PERIOD = 12


class Triplets:
    """Keeps the last two frames of each segment that is being measured."""

    def __init__(self) -> None:
        self._recent: weakref.WeakKeyDictionary[Segment, deque[tuple[int, Frame]]] = (
            weakref.WeakKeyDictionary()
        )

    def take(self, segment: Segment, index: int, frame: Frame) -> tuple[list[Frame], Box] | None:
        """Take the next output frame; return three drawn ones that show consecutive source frames, with the box around what
        was drawn into them, where this is the last of such.
        """
        if index % PERIOD > 2:
            return None
        recent = self._recent.setdefault(segment, deque(maxlen=2))
        last = list(recent)
        if index % PERIOD == 2:
            recent.clear()
        else:
            recent.append((index, frame))
        if [number for number, _ in last] != [index - 2, index - 1]:
            return None
        three = [one for _, one in last] + [frame]
        boxes = [one.drawn for one in three if one.drawn is not None]
        if len(boxes) < 3 or np.diff([one.index for one in three]).tolist() != [1, 1]:
            return None
        low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
        return three, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
