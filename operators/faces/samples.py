"""Which frames of a shot are searched for faces. They are kept while the shot is read, whose end nobody knows yet: a title is read once."""

from __future__ import annotations

from collections import deque

from operators.media.frames import Frame
from operators.media.probe import VideoInfo

#: Samples a second, at least and at most in a shot, and at most in a title (a shot always has one).
RATE, LEAST, MOST, TITLE = 2.0, 3, 24, 4000
#: Bytes of frames held for this at most.
HELD_BYTES = 160 << 20
#: Latest frames that are held whatever else is: a cut is noticed some frames late, and a shot may be as short as that.
LATEST = 6


def sample_frames(info: VideoInfo, start: int, stop: int) -> list[int]:
    """Frames to look at in a shot [start, stop): two a second within limits, evenly spread. A long title gets fewer in a shot."""
    length, rate = stop - start, float(info.average_rate) or 25.0
    count = min(max(round(length / rate * RATE), LEAST), MOST, length)
    count = min(count, max(length * TITLE // info.n_frames, 1))
    return [int(start + (i + 0.5) * length / count) for i in range(count)]


class Samples:
    """The frames of the shot that is being read, thinned out evenly as it grows longer.

    Args:
        info: what `probe_video` said of the video.
        start: its first frame that will be added.
    """

    def __init__(self, info: VideoInfo, start: int = 0) -> None:
        self._info, self._start, self._step = info, start, 1
        self._held: list[Frame] = []
        self._latest: deque[Frame] = deque(maxlen=LATEST)

    def add(self, frame: Frame) -> None:
        """The next frame."""
        self._latest.append(frame)
        if (frame.index - self._start) % self._step:
            return
        if len(self._held) >= self._room(frame):
            self._held, self._step = self._held[::2], 2 * self._step
            if (frame.index - self._start) % self._step:
                return
        self._held.append(frame)

    def take(self, stop: int) -> list[Frame]:
        """The shot has ended before frame ``stop``, where the next one begins: those of its frames that are to be searched, ascending.

        They are those of `sample_frames`, or, where these are not held any more, the nearest ones.
        """
        shot = {frame.index: frame for frame in (*self._held, *self._latest) if frame.index < stop}
        wanted = sample_frames(self._info, self._start, stop) if shot else []
        chosen = {min(shot, key=lambda index: (abs(index - number), index)) for number in wanted}
        rest = {frame.index: frame for frame in (*self._held, *self._latest) if frame.index >= stop}
        self._start, self._step, self._held = stop, 1, [rest[index] for index in sorted(rest)]
        return [shot[index] for index in sorted(chosen)]

    def _room(self, frame: Frame) -> int:
        """How many frames may be held."""
        size = sum(plane.buffer_size for plane in frame.picture.planes)
        return max(2 * LEAST, min(2 * MOST, HELD_BYTES // size))
