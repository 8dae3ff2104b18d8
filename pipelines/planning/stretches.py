"""Frames of a title that a dub's ``ranges`` and ``exclude`` leave to be dubbed, and the seconds in which its speech is heard."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from operators.media.probe import VideoInfo
from operators.numeric.masks import runs, smoothstep
from pipelines.manifest.ranges import Moment, Ranges, moment
from pipelines.manifest.titles import Dub

#: Seconds by which a range may end behind its video, or a speech differ from it, without a note.
MUCH = 0.25
#: Share of the usual step from frame to frame by which another may differ at a constant rate (times are rounded, to 1 ms in some files).
UNEVEN = 0.75
#: Rates that are meant where steps, whose times are rounded, give one within this share of them.
STANDARD_RATES = (
    *(Fraction(nominal * 1000, 1001) for nominal in (24, 30, 60)),
    *(Fraction(nominal) for nominal in (24, 25, 30, 48, 50, 60)),
)
ROUNDED = Fraction(1, 200)
#: Frames before a time code from which on a frame counts as the one that is meant.
EARLY = Fraction(1, 4)
NOT_ADDED = "it counts from the title's first frame: a start time code that the file carries is not added"


class RangeError(ValueError):
    """A range lies outside its title; the message names the column and the video."""


def dubbed_frames(dub: Dub, video: str, info: VideoInfo) -> np.ndarray | None:
    """bool[n] of the source's frames: inside one of the ranges, and in none that is excluded; None: all, for the dub has
    neither.

    Args:
        dub: with its ranges.
        video: URL, for messages.
        info: of the video.

    Raises:
        RangeError: a range begins behind the end of the video, ends before it starts or has a time code that counts more frames than
            a second has, or nothing is left.
    """
    if not dub.partial:
        return None
    inside = np.full(info.n_frames, not dub.ranges)
    for start, stop in _frames(dub.ranges, "ranges", video, info):
        inside[start:stop] = True
    for start, stop in _frames(dub.exclude, "exclude", video, info):
        inside[start:stop] = False
    if not inside.any():
        raise RangeError(f"{video}: ranges and exclude leave no frame to be dubbed")
    return inside


def spoken_seconds(inside: np.ndarray, info: VideoInfo) -> list[tuple[float, float]]:
    """Stretches of the title, in seconds from its first frame, that show frames to be dubbed.

    Args:
        inside: bool[n] of `dubbed_frames`.
        info: of the video.
    """
    ends = np.append(info.pts, int(info.pts[-1]) + info.last_duration)
    return [
        (
            float((int(ends[start]) - int(ends[0])) * info.time_base),
            float((int(ends[stop]) - int(ends[0])) * info.time_base),
        )
        for start, stop in runs(inside)
    ]


def _frames(ranges: Ranges, key: str, video: str, info: VideoInfo) -> Iterable[tuple[int, int]]:
    for first, last in ranges:
        told = f"{video}: {key}: {first}-{last}"
        for end in (first, last):
            _check_time_code(end, told, info)
        start = _frame(first, info) if first else 0
        stop = _frame(last, info) if last else info.n_frames
        if start >= info.n_frames:
            if _beyond(first, info) < 0:
                begins = float((int(info.pts[-1]) - int(info.pts[0])) * info.time_base)
                raise RangeError(f"{told} shows no frame: the last one of the video begins at {begins:.3f} s")
            own = f"; {NOT_ADDED}" if ":" in first else ""
            raise RangeError(f"{told} begins behind the end of the video, which has {_length(info)}{own}")
        if stop <= start:
            raise RangeError(f"{told} ends before it starts, or shows no frame")
        yield start, stop


def range_notes(dub: Dub, info: VideoInfo) -> list[str]:
    """Return notes on ranges that end behind the end of the video, and on time codes where its frame rate varies."""
    named = [
        (key, first, last)
        for key, ranges in (("ranges", dub.ranges), ("exclude", dub.exclude))
        for first, last in ranges
    ]
    notes = [
        f"{key}: {first}-{last} ends behind the end of the video, which has {_length(info)}"
        for key, first, last in named
        if last and _beyond(last, info) > MUCH
    ]
    rate = _steady_rate(info)
    if rate and any(_is_code(end) for _, *ends in named for end in ends):
        notes.append(
            f"the frame rate of the video varies: time codes in {' and '.join(dict.fromkeys(key for key, *_ in named))} are counted at "
            f"{float(rate):.6g} fps, whatever frames are there"
        )
    return notes


def _length(info: VideoInfo) -> str:
    return f"{float(info.duration):.3f} s, {info.n_frames} frames"


def _is_code(text: str) -> bool:
    """True for a time code with frames."""
    return ":" in text and moment(text).counted


def _steady_rate(info: VideoInfo) -> Fraction | None:
    """Frames a second at which most frames of a video of variable frame rate follow each other; None where the rate is constant."""
    steps = np.diff(info.pts)
    if not len(steps):
        return None
    usual = float(np.median(steps))
    near = np.abs(steps / usual - 1) < UNEVEN
    if near.all():
        return None
    rate = 1 / (Fraction(int(steps[near].sum()), int(near.sum())) * info.time_base)
    standard = min(STANDARD_RATES, key=lambda one: abs(one / rate - 1))
    return standard if abs(standard / rate - 1) < ROUNDED else rate


def _counted_rate(info: VideoInfo) -> Fraction:
    """Frames a second of time codes."""
    return _steady_rate(info) or info.average_rate


def _nominal_rate(info: VideoInfo) -> int:
    return max(1, round(_counted_rate(info)))


def _check_time_code(text: str, told: str, info: VideoInfo) -> None:
    """Refuse a time code that counts more frames than a second of the video has: it is one of another rate."""
    rate = _nominal_rate(info)
    if ":" in text and (one := moment(text)).frames >= rate:
        raise RangeError(
            f"{told}: {text} counts {one.frames} frames, and the video has {rate} in a second ({float(_counted_rate(info)):.6g} fps), "
            f"of which the last is {rate - 1}: a time code of another rate? Write seconds"
        )


def _beyond(text: str, info: VideoInfo) -> float:
    """Seconds by which a moment lies behind the end of the video; negative: inside it."""
    one = _in_seconds(text, info)
    if one.counted:
        return float((_frame(text, info) - info.n_frames) / info.average_rate)
    return float(one.seconds - info.duration)


def _frame(text: str, info: VideoInfo) -> int:
    """The first frame at or after a moment; a frame's number may lie behind the end."""
    one = _in_seconds(text, info)
    if one.counted:
        return int(one.seconds) * _nominal_rate(info) + one.frames
    at = one.seconds / info.time_base + int(info.pts[0])
    return int(np.searchsorted(info.pts, -(-at.numerator // at.denominator)))


def _in_seconds(text: str, info: VideoInfo) -> Moment:
    """Read a moment. A time code of a video of variable frame rate is its seconds, less a little for times that are rounded: the
    numbers of its frames say nothing of when they are shown.
    """
    one = moment(text)
    if not _is_code(text) or (rate := _steady_rate(info)) is None:
        return one
    count = int(one.seconds) * _nominal_rate(info) + one.frames
    return Moment(max(Fraction(0), (count - EARLY) / rate))


def fade(frames: np.ndarray, times: np.ndarray, seconds: float) -> np.ndarray:
    """float32[N]: 0 where ``frames`` is False, and from there rising to 1 within ``seconds`` where it is True.

    Args:
        frames: bool[N].
        times: float64[N], ascending seconds.
        seconds: of the rise.
    """
    outside = times[~frames]
    if not len(outside):
        return np.ones(len(frames), np.float32)
    after = np.clip(np.searchsorted(outside, times), 0, len(outside) - 1)
    apart = np.minimum(np.abs(outside[after] - times), np.abs(times - outside[np.maximum(after - 1, 0)]))
    return np.where(frames, smoothstep(apart / max(seconds, 1e-6)), 0).astype(np.float32)
