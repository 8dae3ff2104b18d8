"""Time ranges of a row: the columns ``ranges`` and ``exclude``, and the moments that they are written with.

A moment is a number of seconds (``12.5``), a time code (``00:01:02``, ``00:01:02.500`` in milliseconds, ``00:01:02:12``
in frames) or a frame (``310f``). Only the video says when a frame is shown: `pipelines.planning.stretches` finds the frames.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pipelines.errors import UsageError
from pipelines.manifest.cells import RowError

#: Ranges as a dub keeps them: the texts of both ends, empty for the title's own.
Ranges = tuple[tuple[str, str], ...]

FORMS = "seconds (12.5), a time code (00:01:02:12, 00:01:02.500) or a frame (310f)"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s?")
_FRAME = re.compile(r"(\d+)f")
_CODE = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d)(?:\.(\d{1,6})|:(\d{1,3}))?")
_DROP_FRAME = re.compile(r"\d:\d\d:\d\d;\d")


@dataclass(frozen=True)
class Moment:
    """A moment of a title.

    Attributes:
        seconds: from the title's first frame on.
        frames: further frames after that, at the video's nominal rate (time codes), or from the first frame on.
        counted: the whole moment counts frames, ``seconds`` of them at the nominal rate: so do time codes with frames.
    """

    seconds: Fraction = Fraction(0)
    frames: int = 0
    counted: bool = False


def moment(text: str) -> Moment:
    """Read a moment.

    Raises:
        ValueError: it has none of the forms.
    """
    if found := _SECONDS.fullmatch(text):
        return Moment(Fraction(found[1]))
    if found := _FRAME.fullmatch(text):
        return Moment(frames=int(found[1]), counted=True)
    if found := _CODE.fullmatch(text):
        whole = Fraction(3600 * int(found[1]) + 60 * int(found[2]) + int(found[3]))
        if found[5]:
            return Moment(whole, int(found[5]), counted=True)
        return Moment(whole + (Fraction(int(found[4]), 10 ** len(found[4])) if found[4] else 0))
    raise ValueError(f"{text!r} is no moment: write {FORMS}")


def ranges_of(value: Any, key: str) -> Ranges:
    """Read a cell: ``[[start, end], ...]``, or a text such as ``"0-12.5, 00:01:02:00-00:01:30:00, 310f-"``. An end that is left
    out is the title's.

    Args:
        value: of the cell; None or an empty text or list: no ranges.
        key: the column, for messages.

    Raises:
        RowError: it is neither, holds blanks alone, or a range ends before it starts.
    """
    if value is None or value in ("", []):
        return ()
    if isinstance(value, str):
        if _DROP_FRAME.search(value):
            raise RowError(f"{key}: {value!r} holds a drop-frame time code; write seconds or frames")
        parts: Sequence[Any] = [part for part in re.split(r"[,;]", value) if part.strip()]
        if not parts:
            raise RowError(
                f"{key}: {value!r} holds no range: write START-END, such as 12.5-60, or leave it out"
            )
    elif isinstance(value, (list, tuple)):
        # One range may stand without the outer brackets.
        alone = len(value) == 2 and not any(
            isinstance(end, (list, tuple)) or "-" in str(end) for end in value
        )
        parts = [value] if alone else value
    else:
        raise RowError(
            f"{key}: must be a list of [start, end] or a text such as '0-12.5, 60-'; got {value!r}"
        )
    return tuple(_range(part, key) for part in parts)


def check_ranges(option: str, text: str) -> None:
    """Refuse the text of ``--ranges`` or ``--exclude``, before anything is looked at, where `ranges_of` would later.

    Raises:
        UsageError: it is blank or cannot be read.
    """
    if not text.strip():
        raise UsageError(f"--{option} is empty: write START-END, such as 12.5-60, or leave it out")
    try:
        ranges_of(text, option)
    except RowError as problem:
        raise UsageError(str(problem)) from None


def _range(part: Any, key: str) -> tuple[str, str]:
    """One range as its two texts."""
    if isinstance(part, str):
        start, dash, end = part.partition("-")
        if not dash:
            raise RowError(f"{key}: {part.strip()!r} is no range: write START-END, such as 12.5-60")
        ends = [start.strip(), end.strip()]
    elif isinstance(part, (list, tuple)) and len(part) == 2:
        ends = [_text(one, key) for one in part]
    else:
        raise RowError(f"{key}: {part!r} is no range: write [start, end]")
    try:
        first, last = (moment(end) if end else None for end in ends)
    except ValueError as problem:
        raise RowError(f"{key}: {problem}") from None
    if first is None and last is None:
        raise RowError(f"{key}: a range without start and end is the whole title; leave it out")
    same = last is not None and first is not None and first.counted == last.counted
    if same and first is not None and last is not None and _order(first) >= _order(last):
        told = (
            "is empty: it ends where it starts" if _order(first) == _order(last) else "ends before it starts"
        )
        raise RowError(f"{key}: the range {'-'.join(ends)} {told}")
    return ends[0], ends[1]


def _order(one: Moment) -> tuple[Fraction, int]:
    return one.seconds, one.frames


def _text(value: Any, key: str) -> str:
    """One end of a range as a text."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(f"{key}: {value!r} is no moment: write {FORMS}")
    return value.strip() if isinstance(value, str) else f"{value:.6f}".rstrip("0").rstrip(".")
