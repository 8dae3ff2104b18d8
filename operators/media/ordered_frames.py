"""Frames of a video in any requested order, decoded in as few stretches as seeking is worth.

Used by the stages that draw: an output shows source frames forwards, backwards, or one of them several times.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from operators.media.frames import Frame
from operators.media.probe import VideoInfo
from operators.media.reader import read_frames

#: Frames between two wanted ones that are rather decoded and dropped than sought over.
GAP = 48


def chosen_frames(url: str, wanted: np.ndarray, info: VideoInfo) -> Iterator[Frame]:
    """The frames of ascending numbers int64[K], decoded in as few stretches as seeking is worth."""
    if not len(wanted):
        return
    for stretch in np.split(wanted, np.flatnonzero(np.diff(wanted) > GAP) + 1):
        keep = set(stretch.tolist())
        yield from (
            f for f in read_frames(url, int(stretch[0]), int(stretch[-1]) + 1, info) if f.index in keep
        )


def source_frames(url: str, source: np.ndarray, info: VideoInfo, block: int) -> Generator[Frame, None, None]:
    """For each number of int64[N], in any order, a frame of its own to draw on.

    Stretches that rise (or stand still) are read as they come, those that fall in blocks of at most ``block``
    frames.
    """
    start = 0
    while start < len(source):
        stop = start + 1
        falling = stop < len(source) and source[stop] < source[start]
        while stop < len(source):
            step = int(source[stop] - source[stop - 1])
            if not (
                -GAP <= step < 0 and source[start] - source[stop] < block if falling else 0 <= step <= GAP
            ):
                break
            stop += 1
        stretch = source[start:stop].tolist()
        low, high = min(stretch[0], stretch[-1]), max(stretch[0], stretch[-1]) + 1
        if falling:
            keep = set(stretch)
            held = {f.index: f for f in read_frames(url, low, high, info) if f.index in keep}
            yield from (held.pop(number) for number in stretch)
        else:
            yield from _rising(read_frames(url, low, high, info), stretch)
        start = stop


def _rising(frames: Iterator[Frame], numbers: list[int]) -> Iterator[Frame]:
    """Frames for numbers that never fall; a number that stands several times gives copies."""
    frame = next(frames)
    for position, number in enumerate(numbers):
        while frame.index < number:
            frame = next(frames)
        last = position + 1 == len(numbers) or numbers[position + 1] != number
        yield frame if last else frame.copy()
