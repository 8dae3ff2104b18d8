"""What a terminal can show, and tables for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO


def shows_bar(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that a bar may be drawn on; NO_COLOR and TERM=dumb ask for plain lines."""
    return (
        stream is not None
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns, line by line; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
