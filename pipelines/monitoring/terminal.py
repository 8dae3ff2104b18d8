"""Capabilities of a terminal, and tables as text."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO


def shows_bar(stream: TextIO | None) -> bool:
    """Return whether a bar may be drawn on a stream: it is a terminal without NO_COLOR and TERM=dumb."""
    return (
        stream is not None
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def table(rows: Sequence[Sequence[str]], markdown: bool = False) -> list[str]:
    """Return rows as the lines of a table with aligned columns; no cell is wrapped or cut.

    Args:
        rows: cells of equal number in each row; the first row is the heading.
        markdown: write a Markdown table, with a rule below the heading; a ``|`` in a cell is escaped.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        box=box.MARKDOWN if markdown else None,
        pad_edge=markdown,
        padding=(0, 1, 0, 1) if markdown else (0, 2, 0, 0),
    )
    heading, *others = (
        [Text(" ".join((cell.replace("|", r"\|") if markdown else cell).splitlines())) for cell in row]
        for row in rows
    )
    for cell in heading:
        drawn.add_column(cell, no_wrap=True)
    for row in others:
        drawn.add_row(*row)
    console = Console(file=io.StringIO(), color_system=None, width=sys.maxsize, legacy_windows=False)
    with console.capture() as drawing:
        console.print(drawn, end="", no_wrap=True, overflow="ignore", crop=False)
    return [line.rstrip() for line in drawing.get().splitlines() if line.strip()]
