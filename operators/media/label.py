"""Visible notices on a picture: what can be asked for, and when they are shown; checked before anything heavy is
imported. `operators.media.label_drawing` draws them.
"""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Literal, get_args

Position = Literal["top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right"]
POSITIONS: tuple[str, ...] = get_args(Position)
#: Characters of a notice.
LONGEST = 200
#: Height of the letters' em as a share of the picture's shorter side.
SMALLEST, LARGEST = 0.02, 0.2
_STRETCH = re.compile(r"(?:(\d+(?:\.\d+)?) *- *)?(\d+(?:\.\d+)?)")
_STRETCHES = "all, the number of seconds from the beginning (5), or stretches such as 0-5,60-65"


@dataclasses.dataclass(frozen=True)
class Label:
    """Options of a notice, as every stage that encodes has them.

    Attributes:
        label: text that is drawn into the picture; empty: none. Only pixels under it change.
        label_position: corner or edge of the picture, inside its title-safe area.
        label_seconds: when it is shown, from the first frame on: all, the number of seconds from the beginning, or
            stretches such as 0-5,60-65.
        label_size: height of the letters as a share of the picture's shorter side.
        label_font: file of a font, with #N for the N-th of a collection; empty: those that come with retalk.
        label_font_sha256: digest that this file must have; empty: any.
    """

    label: str = ""
    label_position: Position = "top-left"
    label_seconds: str = "all"
    label_size: float = 0.045
    label_font: str = ""
    label_font_sha256: str = ""

    def __post_init__(self) -> None:
        if problem := label_problem(self.label, self.label_position, self.label_seconds, self.label_size):
            raise ValueError(problem)


def label_problem(text: str, position: str, seconds: str, size: float) -> str:
    """Say what is wrong with a notice; empty where nothing is."""
    if len(text) > LONGEST:
        return f"label: is longer than {LONGEST} characters"
    if any((ord(sign) < 32 and sign != "\n") or 0xD800 <= ord(sign) < 0xE000 for sign in text):
        return f"label {text!r}: holds what cannot be drawn"
    if position not in POSITIONS:
        return f"label_position {position!r} must be one of {', '.join(POSITIONS)}"
    if not SMALLEST <= size <= LARGEST:
        return (
            f"label_size {size:g} must be from {SMALLEST} to {LARGEST}, a share of the picture's shorter side"
        )
    try:
        stretches(seconds)
    except ValueError as problem:
        return str(problem)
    return ""


def stretches(seconds: str) -> tuple[tuple[Fraction, Fraction | None], ...]:
    """Stretches of time [start, stop) in seconds in which a notice is shown; None: to the end.

    Args:
        seconds: as `Label.label_seconds`.

    Raises:
        ValueError: it is none of these, or a stretch is empty.
    """
    if seconds.strip() == "all":
        return ((Fraction(0), None),)
    found = []
    for part in seconds.split(","):
        told = _STRETCH.fullmatch(part.strip())
        if not told or Fraction(told[2]) <= Fraction(told[1] or 0):
            raise ValueError(f"label_seconds {seconds!r} must be {_STRETCHES}")
        found.append((Fraction(told[1] or 0), Fraction(told[2])))
    return tuple(found)
