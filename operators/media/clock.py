"""Beginnings of time lines, and time lines of recordings whose clock starts anew: files that were joined end to end."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from operators.media.container import CLOCK_TIMES, COVER, clock_origin, open_input, video_stream
from operators.media.decoding import packets
from operators.media.matroska import is_joined
from operators.media.timeline import LONGEST_REORDERING, NO_TIME, Timeline
from operators.storage.files import kept_by_file

#: Seconds: a longer step forwards between two pictures or packets is a break in the clock, and so is a longer
#: step backwards. What a recording merely lost is shorter.
LONGEST_GAP = Fraction(10)
LONGEST_DISORDER = Fraction(1, 2)


def is_break(before: Fraction, after: Fraction) -> bool:
    """True if the clock starts anew between two times in seconds that follow each other in the file."""
    return after - before > LONGEST_GAP or before - after > LONGEST_DISORDER


@kept_by_file(64)
def time_origin(url: str) -> Fraction:
    """Seconds at which a video's time line starts for a player, in whole units of its picture's time base so that sound and
    picture move by the same: `clock_origin`, or earlier where Matroska has pictures before its time 0.

    FFmpeg gives such pictures without a time. They precede those that have one, at the usual distance.

    Raises:
        MediaError: the file cannot be opened or read, or has no video.
    """
    with open_input(url) as container:
        origin, stream = clock_origin(container), video_stream(container, url)
        base = stream.time_base or Fraction(1, 1000)
        first = _first_untimed(container, stream, url)
        origin = origin if first is None else min(origin, first * base)
        return math.floor(origin / base) * base


@kept_by_file(64)
def picture_start(url: str) -> Fraction | None:
    """Time in seconds of the first frame of a file's video, None for a file without one.

    Raises:
        MediaError: the file cannot be opened or read.
    """
    with open_input(url) as container:
        for stream in container.streams.video:
            if stream.disposition & COVER or stream.start_time is None or not stream.time_base:
                continue
            first = _first_untimed(container, stream, url)
            return min(stream.start_time, stream.start_time if first is None else first) * stream.time_base
    return None


def _first_untimed(container: InputContainer, stream: VideoStream, url: str) -> int | None:
    """Time of the first of the pictures without a time, which only Matroska has; None without any. Looks at no more packets than it
    must.
    """
    if not container.format.name.startswith("matroska"):
        return None
    untimed, times = 0, list[int]()
    for packet in packets(container, stream, url):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            times.append(time)
        elif packet.size:
            untimed += 1
        if len(times) > LONGEST_REORDERING:
            break
    steps = [step for step in np.diff(sorted(times)).tolist() if step > 0]
    return min(times) - untimed * round(np.median(steps)) if untimed and steps else None


class Rejoiner:
    """Times of one stream, in the order of the file, to a time line without breaks.

    Args:
        joins: seconds that are added to times behind each break, as of `clock_joins`.
    """

    def __init__(self, joins: Sequence[Fraction]) -> None:
        self._joins = (Fraction(0), *joins)
        self._part = 0
        self._last: Fraction | None = None

    def offset(self, time: Fraction) -> Fraction:
        """Seconds to add to the next time, given in seconds."""
        if self._last is not None and is_break(self._last, time):
            self._part = min(self._part + 1, len(self._joins) - 1)
        self._last = time
        return self._joins[self._part]


def rejoined(timeline: Timeline, joins: Sequence[Fraction], time_base: Fraction) -> Timeline:
    """A timeline without the breaks of its clock."""
    rejoiner, times = Rejoiner(joins), timeline.times.copy()
    for i, time in enumerate(timeline.times.tolist()):
        if time != NO_TIME:
            times[i] = time + round(rejoiner.offset(time * time_base) / time_base)
    return dataclasses.replace(timeline, times=times)


def placed(timeline: Timeline, url: str) -> Timeline:
    """A timeline whose entry points are found by their places in the file; those without one are left out, but for the
    first frame.
    """
    with open_input(url) as container:
        stream = video_stream(container, url)
        found = [
            (int(packet.pts), int(packet.pos))
            for packet in packets(container, stream, url)
            if packet.is_keyframe and packet.pts is not None and packet.pos is not None
        ]
    keys, places, at = [], [], 0
    for key in timeline.keys.tolist():
        # Both are in the order of the file.
        match = next((n for n in range(at, len(found)) if found[n][0] == timeline.times[key]), None)
        if match is not None:
            keys.append(key)
            places.append(found[match][1])
            at = match + 1
    return dataclasses.replace(timeline, keys=np.array(keys, np.int64), places=np.array(places, np.int64))


@kept_by_file(64)
def clock_joins(url: str) -> tuple[Fraction, ...]:
    """Seconds to add to times behind each break of the clock, so that the parts of a recording follow each
    other as their pictures do; empty for files without a break, and for containers that hold no clock.

    Raises:
        MediaError: the file cannot be opened or read.
    """
    with open_input(url) as container:
        matroska = container.format.name.startswith("matroska")
        if not (container.format.flags & CLOCK_TIMES or (matroska and is_joined(url))) or not any(
            not stream.disposition & COVER and stream.width for stream in container.streams.video
        ):
            return ()
        stream = video_stream(container, url)
        base = stream.time_base or Fraction(1, 90000)
        found = [
            (decoded * base, shown * base, packet.is_keyframe)
            for packet in packets(container, stream, url)
            if packet.size
            and (decoded := packet.dts if packet.dts is not None else packet.pts) is not None
            and (shown := packet.pts if packet.pts is not None else packet.dts) is not None
        ]
    bounds = [i for i in range(1, len(found)) if is_break(found[i - 1][0], found[i][0])]
    if not bounds:
        return ()
    gaps = [float(b[0] - a[0]) for a, b in itertools.pairwise(found)]
    steps = [gap for gap in gaps if 0 < gap <= LONGEST_GAP]
    step = Fraction(float(np.median(steps))).limit_denominator(90000) if steps else Fraction(1, 25)
    joins: list[Fraction] = []
    for begin, start, stop in zip([0, *bounds], bounds, [*bounds[1:], len(found)]):
        end = max(pts for _, pts, _ in found[begin:start]) + (joins[-1] if joins else 0) + step
        part = found[start:stop]
        first = next((pts for _, pts, key in part if key), part[0][1])
        joins.append(end - first)
    return tuple(joins)
