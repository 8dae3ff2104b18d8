"""Frames of a shot that are searched for faces, kept while the shot is read: a title is read once, and the
shot's end is not known yet.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from operators.faces.picture import FramePicture, Picture
from operators.media.frames import Frame
from operators.media.probe import VideoInfo

#: Samples a second, at least and at most in a shot, and at most in a title (a shot always has one).
RATE, LEAST, MOST, TITLE = 2.0, 3, 24, 4000
#: Bytes of pictures held for this at most.
HELD_BYTES = 256 << 20
#: Latest frames that are held whatever else is: a cut is noticed some frames late, and a shot may be as short
#: as that.
LATEST = 6


def sample_frames(info: VideoInfo, start: int, stop: int) -> list[int]:
    """Frames to look at in a shot [start, stop): two a second within limits, evenly spread. A long title gets
    fewer in a shot.
    """
    length, rate = stop - start, float(info.average_rate) or 25.0
    count = min(max(round(length / rate * RATE), LEAST), MOST, length)
    count = min(count, max(length * TITLE // info.n_frames, 1))
    return [int(start + (i + 0.5) * length / count) for i in range(count)]


class ShotFrameSampler:
    """Pictures of the shot that is being read, thinned out evenly as it grows longer.

    Args:
        info: what `probe_video` said of the video.
        start: its first frame that will be added.
        colour: frames, to be converted where they are searched, instead of luma uint8[h, w].
    """

    def __init__(self, info: VideoInfo, start: int = 0, colour: bool = False) -> None:
        self._info, self._start, self._step, self._colour = info, start, 1, colour
        self._held: dict[int, np.ndarray | Frame] = {}
        self._latest: deque[Frame] = deque(maxlen=LATEST)

    def add(self, frame: Frame) -> None:
        """The next frame."""
        self._latest.append(frame)
        if self._due(frame.index) and len(self._held) >= self._room(frame):
            self._step *= 2
            self._held = {index: picture for index, picture in self._held.items() if self._due(index)}
        if self._due(frame.index):
            self._held[frame.index] = self._kept(frame)

    def take(self, stop: int) -> dict[int, Picture]:
        """The shot has ended before frame ``stop``, where the next one begins: its pictures that are to be
        searched, ascending.

        They are those of `sample_frames`, or, where these are not held any more, the nearest ones.
        """
        known = {
            frame.index: self._kept(frame) for frame in self._latest if frame.index not in self._held
        } | self._held
        shot, rest = (
            sorted(index for index in known if (index < stop) is inside) for inside in (True, False)
        )
        wanted = sample_frames(self._info, self._start, stop) if shot else []
        chosen = {min(shot, key=lambda index: abs(index - number)) for number in wanted}
        self._start, self._step, self._held = stop, 1, {index: known[index] for index in rest}
        return {index: self._picture(known[index]) for index in sorted(chosen)}

    def _due(self, index: int) -> bool:
        return (index - self._start) % self._step == 0

    def _room(self, frame: Frame) -> int:
        """Number of pictures that may be held."""
        width, height = frame.size
        size = sum(plane.nbytes for plane in frame.samples()) if self._colour else width * height
        return max(2 * LEAST, min(2 * MOST, HELD_BYTES // size))

    def _kept(self, frame: Frame) -> np.ndarray | Frame:
        """A copy of luma, for a view would hold the whole frame; of colour the frame, few of which are ever searched."""
        return frame if self._colour else np.array(frame.luma())

    def _picture(self, kept: np.ndarray | Frame) -> Picture:
        return kept if isinstance(kept, np.ndarray) else FramePicture(kept)
