"""Parts of frames that one stage of a worker has decoded and a later one needs again.

A stage that will need them asks (`ask`) when it is set up; a stage that decodes all frames of a segment
hands them on (`begin`, `offer`). Where the two are in different workers, or the first one's results come from
the analysis cache, nothing is kept, and the later stage decodes. The pixels are the same either way.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from operators.media.cut import Cut
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.media.picture_420 import Picture420
from operators.storage.files import fingerprint

#: Bytes that are kept at most: a close-up's mouth in 1080p for 40 seconds, that of a smaller face for minutes.
LIMIT = 256 << 20

Wanted = Callable[[np.ndarray, tuple[int, int]], Box]


class KeptCuts:
    """Parts of the frames of one segment, the last one that was read.

    Args:
        limit: bytes; frames that would exceed them are not kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        #: Stages that want parts, and which, as long as they live.
        self._asked: weakref.WeakKeyDictionary[object, Wanted] = weakref.WeakKeyDictionary()
        self._clear()

    def _clear(self) -> None:
        self._video: object = None
        self._cuts: dict[int, tuple[Box, Cut]] = {}
        self.bytes = 0

    def ask(self, stage: object, wanted: Wanted) -> None:
        """Keep parts of frames for as long as a stage exists.

        Args:
            stage: what will need them.
            wanted: gives the box for landmarks float[68, 2] and the size of the upright picture.
        """
        self._asked[stage] = wanted
        weakref.finalize(stage, self._forget)

    def _forget(self) -> None:
        """Drop what is kept if nobody is left who wants it."""
        if not list(self._asked.keys()):
            self._clear()

    def begin(self, video: str) -> None:
        """Drop what is kept: a segment of a video (a URL) will be read."""
        self._clear()
        if self._asked:
            self._video = fingerprint(video)

    def offer(self, frame: Frame, landmarks: np.ndarray) -> None:
        """Keep the part of a frame that was asked for, if there is room.

        Args:
            frame: of the video of `begin`.
            landmarks: float[68, 2], upright pixels; not finite where there is no face.
        """
        if self._video is None or not np.isfinite(landmarks).all():
            return
        boxes = np.array([wanted(landmarks, frame.size) for wanted in list(self._asked.values())])
        if not len(boxes):
            return
        x1, y1 = (int(v) for v in boxes[:, :2].min(0))
        x2, y2 = (int(v) for v in boxes[:, 2:].max(0))
        cut = frame.cut((x1, y1, x2, y2))
        if self.bytes + cut.bytes <= self._limit:
            self._cuts[frame.index] = (x1, y1, x2, y2), cut
            self.bytes += cut.bytes

    def take(self, video: str, boxes: Iterable[tuple[int, Box]]) -> Iterator[tuple[int, Picture420]]:
        """Give those that are kept of the wanted crops.

        Args:
            video: URL.
            boxes: numbers of frames, and what of each, in the upright picture.

        Yields:
            number of the frame and `Frame.picture_420` of the box.
        """
        if self._video is None or self._video != fingerprint(video):
            return
        for index, (x1, y1, x2, y2) in boxes:
            if index in self._cuts:
                whole, cut = self._cuts[index]
                if x1 >= whole[0] and y1 >= whole[1] and x2 <= whole[2] and y2 <= whole[3]:
                    yield index, cut.picture_420((x1, y1, x2, y2))


#: Those of this process.
KEPT = KeptCuts()
