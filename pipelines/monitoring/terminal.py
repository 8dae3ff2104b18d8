"""Capabilities of a terminal, lines broken between words, and tables as text."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

#: Columns where nobody says how many there are, and the fewest that a text is broken for.
COLUMNS, NARROWEST = 80, 16


def shows_bar(stream: TextIO | None) -> bool:
    """Return whether a bar may be drawn on a stream: it is a terminal without NO_COLOR and TERM=dumb."""
    return (
        stream is not None
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def columns_of(stream: TextIO) -> int:
    """Columns of a terminal; COLUMNS in the environment comes first."""
    if (said := os.environ.get("COLUMNS", "")).isdigit() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def fitted(text: str, stream: TextIO | None) -> str:
    """A text with its lines broken between words where a stream is a terminal; unchanged for a pipe or file.

    What continues a line is indented by two more columns.
    """
    if stream is None or not stream.isatty():
        return text
    width, lines = max(NARROWEST, columns_of(stream)), []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        broken = textwrap.wrap(
            line,
            width,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += broken or [line]
    return "\n".join(lines)


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print a text for people, fitted to the terminal.

    Args:
        text: one or more lines.
        stream: None: standard output.
    """
    if stream is None:
        print(fitted(text, sys.stdout), flush=True)
        return
    with contextlib.suppress(OSError):  # messages that nobody can read are no reason to stop
        print(fitted(text, stream), file=stream, flush=True)


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


def wide_table(rows: Sequence[Sequence[str]], stream: TextIO) -> list[str]:
    """Return rows as the lines of a table whose cells are broken between words until it fits the terminal.

    Args:
        rows: cells of equal number in each row; the first row is the heading.
        stream: the terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        drawn.add_column(name, overflow="fold")
    for row in rows[1:]:
        drawn.add_row(*row)
    console = Console(
        file=io.StringIO(), width=columns_of(stream), markup=False, emoji=False, color_system=None
    )
    with console.capture() as drawing:
        console.print(drawn, highlight=False)
    return [line.rstrip() for line in drawing.get().splitlines()]
