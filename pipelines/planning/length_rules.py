"""Length rules: the source frame that each output frame shows, and its time, for speech that is longer or shorter
than the video.

All times are integers in units of the stream's time base; nothing is rounded except where a held frame
repeats at the video's average rate, and there each time is rounded on its own, so that no error grows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipelines.manifest.titles import LengthRule


@dataclass(frozen=True)
class Run:
    """Output frames whose source frames are `start`, `start + step`, ...: `step` is 1 (forwards), -1
    (backwards) or 0 (held).
    """

    start: int
    step: int
    pts: np.ndarray  # int64[count], presentation times of the output frames

    @property
    def count(self) -> int:
        return len(self.pts)


@dataclass(frozen=True)
class OutputSegment:
    """The part of a run that lies inside one segment; `out_start` is the index of its first frame in the
    whole output. The last `held` of its frames repeat the one before them.
    """

    segment: int
    start: int
    step: int
    out_start: int
    pts: np.ndarray  # int64[count]
    held: int = 0

    @property
    def count(self) -> int:
        return len(self.pts)

    def source(self) -> np.ndarray:
        """int64[count], the source frame under each output frame."""
        moved = np.minimum(np.arange(self.count, dtype=np.int64), self.count - 1 - self.held)
        return self.start + self.step * moved


def frame_durations(pts: np.ndarray, last: int) -> np.ndarray:
    """int64[n]: how long each frame is shown; `last` is the last one's, in time base units."""
    return np.append(np.diff(pts), last).astype(np.int64)


def output_runs(
    pts: np.ndarray, last: int, time_base: Fraction, speech: Fraction, rule: LengthRule
) -> list[Run]:
    """The output frames of one dub.

    Args:
        pts: int64[n], ascending presentation times of the video's frames.
        last: how long the last frame is shown, in time base units (at least 1).
        time_base: seconds of one unit.
        speech: length of the speech in seconds; it starts with the first frame.
        rule: ``keep``: the video's length; ``trim``: ends with the shorter of both; ``freeze``, ``loop``,
            ``pingpong``: a video that is shorter than the speech is extended by holding its last frame,
            starting again, or running back and forth (the frames at both turns are shown once). A single
            frame, such as a still picture, has no length of its own: every rule holds it.

    Returns:
        Runs in output order with strictly ascending times; the first output frame is source frame 0. A frame
        is part of the output if it starts before the end.
    """
    n, origin = len(pts), int(pts[0])
    assert last >= 1, last
    assert rule in ("keep", "trim", "freeze", "loop", "pingpong"), rule
    end = origin + _ceil(speech / time_base)  # first unit that the speech does not cover
    whole = Run(0, 1, np.asarray(pts, np.int64))
    if n == 1:
        rule = "freeze"
    if rule == "keep":
        return [whole]
    if rule == "trim":
        return [Run(0, 1, whole.pts[: max(1, int(np.searchsorted(pts, end)))])]
    start = int(pts[-1]) + last
    if start >= end:
        return [whole]
    if rule == "freeze":
        return [whole, Run(n - 1, 0, _hold(pts, last, end))]
    durations = frame_durations(pts, last)
    forwards = whole.pts - origin
    # Backwards from the last frame but one to the second: each is shown as long as it is forwards.
    shown = durations[n - 2 : 0 : -1] if n > 2 else durations[:0]
    backwards = np.concatenate([[0], np.cumsum(shown)])[:-1].astype(np.int64) if n > 2 else durations[:0]
    runs, forward = [whole], rule == "loop"
    while start < end:
        offsets, length = (
            (forwards, int(durations.sum())) if forward or n == 2 else (backwards, int(shown.sum()))
        )
        times = start + offsets
        runs.append(
            Run(
                0 if forward or n == 2 else n - 2,
                1 if forward or n == 2 else -1,
                times[: int(np.searchsorted(times, end))],
            )
        )
        start, forward = start + length, rule == "loop" or not forward
    return runs


def _ceil(value: Fraction) -> int:
    return -((-value.numerator) // value.denominator)


def _hold(pts: np.ndarray, last: int, end: int) -> np.ndarray:
    """Times of repetitions of the last frame from its own end to `end`, at the average rate of the video."""
    period = Fraction(int(pts[-1]) - int(pts[0]) + last, len(pts))
    start = int(pts[-1]) + last
    count = max(1, _ceil(Fraction(end - start) / period))
    times = np.array([start + int(period * k + Fraction(1, 2)) for k in range(count)], np.int64)
    return times[: max(1, int(np.searchsorted(times, end)))]


def split(runs: Sequence[Run], bounds: Sequence[tuple[int, int]], longest: int) -> Iterator[OutputSegment]:
    """Cut runs at the segments' borders, in output order.

    A last frame that is held belongs to the output segment that it ends, as far as there is room: stages see both together,
    so that the mouth does not jump where the picture stops.

    Args:
        runs: of `output_runs`.
        bounds: [start, stop) source frames of the segments, ascending and without gaps.
        longest: an output segment has at most this many frames if any of them are held.
    """
    starts = np.array([start for start, _ in bounds], np.int64)
    out = joined = 0
    for run, following in itertools.zip_longest(runs, runs[1:]):
        done, joined = joined, 0
        while done < run.count:
            frame = run.start + run.step * done
            segment = int(np.searchsorted(starts, frame, side="right")) - 1
            low, high = bounds[segment]
            room = {1: high - frame, -1: frame - low + 1, 0: longest}[run.step]
            count = min(room, run.count - done)
            pts = run.pts[done : done + count]
            if done + count == run.count and run.step and following is not None and not following.step:
                joined = max(0, min(longest - count, following.count))
                pts = np.concatenate([pts, following.pts[:joined]])
            yield OutputSegment(segment, frame, run.step, out, pts, joined)
            done, out = done + count, out + len(pts)
