"""Tables for terminals and Markdown, and streams that a bar may be drawn on."""

from __future__ import annotations

import pytest

from pipelines.monitoring.terminal import table

LONG = "x" * 300


def test_columns_are_aligned_and_nothing_is_cut_wrapped_or_taken_for_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    heading, long, last = table([["title", "state"], [LONG, "[red]b"], ["", "日本 c"]])
    assert heading == "title" + " " * 297 + "state"
    assert long == f"{LONG}  [red]b"
    assert last == " " * 302 + "日本 c"


def test_markdown_has_a_rule_and_escapes_bars() -> None:
    assert table([["a", "b"], ["one", "x|y"], ["two\nlines", ""]], markdown=True) == [
        "| a         | b    |",
        "|-----------|------|",
        r"| one       | x\|y |",
        "| two lines |      |",
    ]
