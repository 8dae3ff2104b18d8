"""The last words of a command whose working process has ended without any."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from pipelines.cli.endings import SHOW_CURSOR, lost
from pipelines.errors import RAY_LOST
from pipelines.monitoring.supervision import Ended


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "before"),
    [(Terminal, False, f"{SHOW_CURSOR}\n"), (Terminal, True, ""), (io.StringIO, False, "")],
)
def test_words_after_a_bar_begin_a_line_and_the_cursor_is_back(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], quiet: bool, before: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", stream())
    assert lost(argparse.Namespace(command="dub", quiet=quiet), Ended(1, True, False, "")) == RAY_LOST
    assert isinstance(sys.stderr, io.StringIO)
    assert sys.stderr.getvalue().startswith(f"{before}retalk dub: Ray has ended by itself")
