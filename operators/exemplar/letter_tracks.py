"""Telling lines of letters from what only looks like them: letters are found again and again, in one place or along one way."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence

from operators.exemplar.masks import Box

#: A line is believed that was found in so many frames, fewer where no more were looked at, and in this share of those looked at from the
#: first of them to the last. Captions are found in most frames; hair beside a tilted face in 5 of 75, and no more than twice in a row.
FINDS, SHARE = 3, 0.3
#: Frames without a find that may lie between two of one line, and frames before and after that are asked.
MISSED, REACH = 6, 25
#: Two finds are of one line where they share so much of the lower one's height.
ROWS = 0.5


class LetterTracks:
    """Finds of lines of letters in the frames that were looked at, in whatever order."""

    def __init__(self) -> None:
        self._frames: list[int] = []
        self._boxes: dict[int, list[Box]] = {}

    def add(self, frame: int, boxes: Sequence[Box]) -> None:
        """Note what was found in a source frame: boxes in the picture; what an earlier look found there stays."""
        if frame not in self._boxes:
            bisect.insort(self._frames, frame)
        self._boxes.setdefault(frame, []).extend(boxes)

    @property
    def few(self) -> bool:
        """So few frames were looked at that each find counts."""
        return len(self._frames) < FINDS

    def believed(self, frame: int, box: Box) -> bool:
        """Tell whether a line found in a frame is found often enough in those around it."""
        if self.few:
            return True
        place = bisect.bisect_left(self._frames, frame)
        sides = (
            itertools.islice(reversed(self._frames[max(place - REACH, 0) : place]), REACH),
            self._frames[place + 1 : place + 1 + REACH],
        )
        finds, life = 1, 1
        for side in sides:
            more, longer = self._followed(box, side)
            finds, life = finds + more, life + longer
        return finds >= FINDS and finds >= SHARE * life

    def _followed(self, box: Box, frames: Iterable[int]) -> tuple[int, int]:
        """Finds of a line in frames that lead away from it, and how many frames there are up to the last of these."""
        finds, life, missed = 0, 0, 0
        for frame in frames:
            same = next(linked(box, self._boxes[frame]), None)
            missed += 1
            if same is not None:
                box, finds, life, missed = same, finds + 1, life + missed, 0
            elif missed > MISSED:
                break
        return finds, life


def linked(box: Box, others: Iterable[Box]) -> Iterator[Box]:
    """Those of some boxes that may be the same line in a frame nearby: in the same rows, and not beside it."""
    for other in others:
        shared = min(box[3], other[3]) - max(box[1], other[1])
        lower = min(box[3] - box[1], other[3] - other[1])
        if shared >= ROWS * lower and box[0] < other[2] and other[0] < box[2]:
            yield other
