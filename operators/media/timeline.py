"""Presentation times of all frames of a stream, and the frames at which decoding can start."""

from __future__ import annotations

import bisect
import dataclasses
import math
from fractions import Fraction

import numpy as np

#: AV_NOPTS_VALUE: the frame carries no time.
NO_TIME = -(1 << 63)
#: Parts into which a unit of time is cut where frames without a time must be put between others.
FINER = 1000
#: Frames by which a frame's place in decoding and in presentation order differ at most (H.264 and HEVC: 16
#: pictures are held).
LONGEST_REORDERING = 16
#: Units of time below 1 / FINEST seconds are made coarser where no time needs them.
FINEST = 10_000_000
#: Units of time that a frame of an MP4 file may last.
LONGEST_FRAME = (1 << 31) - 1
#: Time scales of MP4 files are signed 32-bit integers.
LARGEST_DENOMINATOR = (1 << 31) - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """The stream's own times.

    Attributes:
        times: int64[n], presentation time of each frame in the stream's time base, by presentation order;
            `NO_TIME` where there is none.
        keys: int64[k], indices of frames that decode without earlier ones.
        last_duration: duration of the last frame in the stream's time base, 0 if unknown.
        reordering: places by which a packet comes later in the file than its frame is shown, at most; 0 if
            unknown.
        places: int64[k], where in the file the packets of `keys` begin, bytes: for recordings whose clock starts anew, so that
            times lead nowhere; else None.
    """

    times: np.ndarray
    keys: np.ndarray
    last_duration: int
    reordering: int = 0
    places: np.ndarray | None = None

    def starts(self, start: int) -> list[int]:
        """Frames at which decoding can start so that frame ``start`` comes out right, the nearest first, two
        at most.

        All of them have a time that no other frame has, by which they are recognised.
        """
        differs = self.times[1:] != self.times[:-1]
        alone = (
            np.concatenate([[True], differs]) & np.concatenate([differs, [True]]) & (self.times != NO_TIME)
        )
        before = self.keys[(self.keys > 0) & (self.keys <= start)]
        return [int(k) for k in before[alone[before]][:-3:-1]]

    def clean(self, time_base: Fraction, step: Fraction, origin: int) -> tuple[np.ndarray, Fraction, int]:
        """Strictly ascending times.

        Args:
            time_base: of the stream.
            step: seconds of a frame, for those before the first and after the last known time.
            origin: time in the stream's time base that becomes 0.

        Returns:
            int64[n] times, their time base (numerator 1), and the last frame's duration (at least 1). Where
            all times of the stream are known and ascending they are the stream's own; frames without a usable
            time are spread between their neighbours, in a finer time base.
        """
        raw = _sorted_if_shuffled(self.times)
        known = _longest_ascending(raw)
        whole = len(known) == len(raw)
        held = max(1, int(np.diff(raw[known]).max(initial=0)) * time_base.numerator)
        finer = max(1, min(FINER, LARGEST_DENOMINATOR // time_base.denominator, LONGEST_FRAME // held))
        finer = 1 if whole else finer
        scale, base = time_base.numerator * finer, Fraction(1, time_base.denominator * finer)
        tick = max(1, round(step / base))
        last = self.last_duration * scale if self.last_duration > 0 else tick
        if whole:
            return _reduced(_from_zero((raw - origin) * scale), base, int(last))
        index = np.arange(len(raw))
        if not len(known):
            return _reduced(index * tick, base, tick)
        times = np.interp(index, known, (raw[known] - origin) * scale)
        times += (np.minimum(index - known[0], 0) + np.maximum(index - known[-1], 0)) * tick
        ascending = np.maximum.accumulate(np.rint(times).astype(np.int64) - index) + index
        return _reduced(_from_zero(ascending), base, int(last))


def _from_zero(times: np.ndarray) -> np.ndarray:
    """The same times, those before 0 moved behind it: an output would hide their frames.

    Only a damaged beginning has such times: the origin is where the file says that it starts.
    """
    if not len(times) or times[0] >= 0:
        return times
    index = np.arange(len(times))
    return np.maximum.accumulate(np.maximum(times, 0) - index) + index


def _reduced(times: np.ndarray, base: Fraction, last: int) -> tuple[np.ndarray, Fraction, int]:
    """The same times in a coarser unit where theirs is needlessly fine (raw streams count in 1/1200000000 s)."""
    if base.denominator <= FINEST:
        return times, base, last
    common = math.gcd(int(np.gcd.reduce(times)), last, base.denominator)
    return times // common, base * common, last // common


def _sorted_if_shuffled(times: np.ndarray) -> np.ndarray:
    """Sorted times where all are there, but not in the decoder's order.

    Demuxers guess times that the container does not store (H.264 in AVI) and give them to the wrong frames
    within a reordering delay.
    """
    order = np.argsort(times, kind="stable")
    if NO_TIME in times or (np.abs(order - np.arange(len(times))) > LONGEST_REORDERING).any():
        return times
    return times[order]


def _longest_ascending(times: np.ndarray) -> np.ndarray:
    """Indices of the longest strictly ascending subsequence of the known times (patience sorting)."""
    if len(times) and times[0] != NO_TIME and (np.diff(times) > 0).all():
        return np.arange(len(times))
    tails: list[int] = []
    tail_at: list[int] = []
    previous = [-1] * len(times)
    for i, time in enumerate(times.tolist()):
        if time == NO_TIME:
            continue
        length = bisect.bisect_left(tails, time)
        if length < len(tails) and tails[length] == time:
            continue
        previous[i] = tail_at[length - 1] if length else -1
        if length == len(tails):
            tails.append(time)
            tail_at.append(i)
        else:
            tails[length], tail_at[length] = time, i
    chain = []
    i = tail_at[-1] if tail_at else -1
    while i >= 0:
        chain.append(i)
        i = previous[i]
    return np.array(chain[::-1], np.int64)
