"""Frames, or parts of them, that one stage of a worker has decoded and a later one needs again.

A stage that will need them asks (`KeptFrames.ask`) when it is set up; whoever decodes all frames of a segment, the planner those of a
title, hands them on (`KeptFrames.begin`, `Reading.offer`). Few frames are kept as they are, of more the parts that were asked for. Where
the two are in different workers, or the first one's results come from a cache, nothing is kept, and the later one decodes. The pixels
are the same either way.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from operators.machine import machine_memory
from operators.media.cut import Cut
from operators.media.formats import planes
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.media.picture_420 import Picture420
from operators.storage.files import fingerprint

#: Bytes of parts that are kept at most: a close-up's mouth in 1080p for 40 seconds, that of a smaller face for minutes.
PARTS = 256 << 20
#: Bytes of whole frames at most, 13 s of 1080p; and the share of the machine's memory that all its processors' together may take.
WHOLE, SHARE = 1 << 30, 1 / 8

Wanted = Callable[[np.ndarray, tuple[int, int]], Box]


def room_for_whole() -> int:
    """Bytes of whole frames that a worker may keep on this machine, at which there is one for each processor."""
    memory = machine_memory()
    return int(min(WHOLE, SHARE * memory / (os.cpu_count() or 1))) if memory else PARTS


class Reading:
    """Frames of one segment, or parts of them, as they are decoded.

    Args:
        video: fingerprint of the file; None: nobody wants any.
        count: frames that will be read, all of which are kept whole or none.
        wanted: give boxes of parts.
        parts: bytes of parts; those that would exceed them are not kept.
        whole: bytes of whole frames; if they were more, parts are kept.
    """

    def __init__(self, video: object, count: int, wanted: Sequence[Wanted], parts: int, whole: int) -> None:
        self.video, self._count, self._wanted = video, count, wanted
        self._parts, self._whole = parts, whole
        self.frames: dict[int, Frame] = {}
        self.cuts: dict[int, tuple[Box, Cut]] = {}
        self.bytes = 0

    def close(self) -> None:
        """Keep nothing, and no more."""
        self.video, self.frames, self.cuts, self.bytes = None, {}, {}, 0

    def offer(self, frame: Frame, landmarks: np.ndarray | None) -> None:
        """Keep a frame, or the part of it that was asked for, if there is room.

        Args:
            frame: the next one.
            landmarks: float[68, 2], upright pixels; not finite, or None, where there is no face.
        """
        if self.video is None:
            return
        size = sum(plane.nbytes for plane in planes(frame.picture)[:3])
        if size * self._count <= self._whole:
            self.frames[frame.index] = frame.copy()
            self.bytes += size
            return
        if landmarks is None or not np.isfinite(landmarks).all() or not self._wanted:
            return
        boxes = np.array([wanted(landmarks, frame.size) for wanted in self._wanted])
        x1, y1 = (int(v) for v in boxes[:, :2].min(0))
        x2, y2 = (int(v) for v in boxes[:, 2:].max(0))
        cut = frame.cut((x1, y1, x2, y2))
        if self.bytes + cut.bytes <= self._parts:
            self.cuts[frame.index] = (x1, y1, x2, y2), cut
            self.bytes += cut.bytes


class KeptFrames:
    """Keeper of the frames of the segment that was read last.

    Args:
        parts: bytes of parts, see `Reading`.
        whole: bytes of whole frames, likewise. As many as this machine has room for if None.
    """

    def __init__(self, parts: int = PARTS, whole: int | None = None) -> None:
        self._parts, self._whole = parts, room_for_whole() if whole is None else whole
        #: Who wants frames, and which parts of them, as long as they live.
        self._asked: weakref.WeakKeyDictionary[object, Wanted | None] = weakref.WeakKeyDictionary()
        self._last = Reading(None, 0, (), 0, 0)

    @property
    def bytes(self) -> int:
        """Size of the samples that are kept."""
        return self._last.bytes

    def drop(self) -> None:
        """Keep nothing of what is kept."""
        self._last.close()

    def dismiss(self) -> None:
        """Keep nothing, for nobody: the run has ended, however long its stages are still referred to."""
        self._asked.clear()
        self.drop()

    def ask(self, stage: object, wanted: Wanted | None = None) -> None:
        """Keep frames, or parts of them, for as long as a stage exists.

        Args:
            stage: what will need them.
            wanted: gives the box for landmarks float[68, 2] and the size of the upright picture; None: nothing less than whole frames.
        """
        self._asked[stage] = wanted
        weakref.finalize(stage, self._forget)

    def _forget(self) -> None:
        """Drop what is kept if nobody is left who wants it."""
        if not list(self._asked.keys()):
            self.drop()

    def begin(self, video: str, count: int) -> Reading:
        """Drop what is kept: so many frames of a video (a URL) will be read, and offered to the reading."""
        self.drop()
        wanted = list(self._asked.values())
        parts = [one for one in wanted if one is not None]
        name = fingerprint(video) if wanted else None
        self._last = Reading(name, count, parts, self._parts, self._whole)
        return self._last

    def _kept(self, video: str) -> Reading | None:
        last = self._last
        return last if last.video is not None and last.video == fingerprint(video) else None

    def frames(self, video: str, numbers: Iterable[int]) -> Iterator[Frame] | None:
        """Give frames of a video (a URL) by their numbers, in any order, each of its own to draw on; None: not all of them are kept."""
        wanted, reading = list(numbers), self._kept(video)
        if reading is None or not reading.frames.keys() >= set(wanted):
            return None
        # As it is now: what a later segment keeps in its place is no concern of who reads these.
        kept = reading.frames
        return (kept[number].copy() for number in wanted)

    def take(self, video: str, boxes: Iterable[tuple[int, Box]]) -> Iterator[tuple[int, Picture420]]:
        """Give those that are kept of the wanted crops.

        Args:
            video: URL.
            boxes: numbers of frames, and what of each, in the upright picture.

        Yields:
            number of the frame and `Frame.picture_420` of the box.
        """
        reading = self._kept(video)
        if reading is None:
            return
        for index, (x1, y1, x2, y2) in boxes:
            if index in reading.frames:
                yield index, reading.frames[index].picture_420((x1, y1, x2, y2))
            elif index in reading.cuts:
                whole, cut = reading.cuts[index]
                if x1 >= whole[0] and y1 >= whole[1] and x2 <= whole[2] and y2 <= whole[3]:
                    yield index, cut.picture_420((x1, y1, x2, y2))


#: Those of this process.
KEPT = KeptFrames()
