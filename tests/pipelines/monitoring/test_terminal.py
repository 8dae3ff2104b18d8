"""Text and tables that fit a terminal and are left alone elsewhere, tables as text."""

from __future__ import annotations

import io
import os
import pty
import re
import select
from collections.abc import Iterator
from typing import TextIO

import pytest

from pipelines.monitoring.terminal import columns_of, fitted, table, wide_table

LONG = "the video: /films/a-very-long-name-that-is-broken-nowhere.mp4: no such file; check the path"
WIDE = "x" * 300


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        yield stream
    os.close(leader)


@pytest.mark.parametrize("columns", [20, 40, 100])
def test_lines_are_broken_between_words_on_a_terminal(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = f"{LONG}\n    an indented line that goes on and on for quite some columns"
    lines = fitted(text, terminal).splitlines()
    assert " ".join(line.strip() for line in lines).split() == text.split()
    assert all(len(line) <= columns or " " not in line.strip() for line in lines)
    assert lines[0].startswith("the video:")
    assert len(lines) > 2 or columns == 100
    assert all(line.startswith("  ") for line in lines[1:])


def test_pipes_and_files_get_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert fitted(LONG, io.StringIO()) == fitted(LONG, None) == LONG


def test_columns_are_those_of_the_stream(terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import struct
    import termios

    monkeypatch.delenv("COLUMNS", raising=False)
    fcntl.ioctl(terminal.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, 57, 0, 0))
    assert columns_of(terminal) == 57
    assert columns_of(io.StringIO()) == 80


def test_a_table_fits(terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = [["stage", "reads"], ["detect", "frames, boxes, landmarks, validity, and much else besides"]]
    lines = wide_table(rows, terminal)
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()).replace("─", "").endswith("much else besides")


def test_a_bar_on_twenty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts and stages are broken between words; nothing is cut."""
    from pipelines.monitoring.progress import _Bar
    from pipelines.monitoring.progress_text import Shown

    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        bar = _Bar(stream)
        bar.start()
        bar.draw(Shown(["1/2 titles", "900/1800 frames"], ["finding faces 120/900 frames"], 0.5, []), 65.0)
        drawn = ""
        while select.select([leader], [], [], 0.2)[0]:
            drawn += os.read(leader, 1 << 16).decode(errors="replace")
        bar.stop()
    os.close(leader)
    words = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert "…" not in words
    for word in ("1/2", "titles", "900/1800", "05", "finding", "120/900"):
        assert word in words


def test_columns_are_aligned_and_nothing_is_cut_wrapped_or_taken_for_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    heading, long, last = table([["title", "state"], [WIDE, "[red]b"], ["", "日本 c"]])
    assert heading == "title" + " " * 297 + "state"
    assert long == f"{WIDE}  [red]b"
    assert last == " " * 302 + "日本 c"


def test_markdown_has_a_rule_and_escapes_bars() -> None:
    assert table([["a", "b"], ["one", "x|y"], ["two\nlines", ""]], markdown=True) == [
        "| a         | b    |",
        "|-----------|------|",
        r"| one       | x\|y |",
        "| two lines |      |",
    ]
