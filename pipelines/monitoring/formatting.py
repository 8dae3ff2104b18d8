"""Numbers as people read them: durations and counts."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def short_time(seconds: float) -> str:
    """A time below a minute or so, to three digits: ``55.9 ms``, ``1.25 s``."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: ``1 title``, ``3 titles``."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
