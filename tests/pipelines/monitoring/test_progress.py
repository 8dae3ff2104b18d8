"""Progress: what a log and a terminal show of a run, and the run's log."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.monitoring import progress
from pipelines.monitoring.progress import Progress
from pipelines.monitoring.progress_text import StageWords
from pipelines.monitoring.run_log import RunLog, read_logs
from pipelines.state.coordinator import WorkKey
from tests.pipelines.conftest import profile_config

STATE = {
    "titles": 3,
    "planned_titles": 3,
    "ended": 2,
    "failed": 1,
    "planned": 300,
    "analysed": 300,
    "done": 150,
}
STAGES = [StageWords("detect", "finding faces", "segment"), StageWords("render", "painting")]
LEVEL = [StageWords("level", "levelling")]
BOARD = {
    "stages": {
        "render": {"rows": 4, "frames": 150},
        "plan": {"rows": 3, "frames": 300},
        "detect": {"rows": 5, "frames": 200},
    }
}
EMPTY = {"stages": {}, "running": []}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def show(stream: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress, "LOG_PERIOD", 0.01)
    monkeypatch.setattr(progress, "TERMINAL_PERIOD", 0.01)
    with Progress(stream) as shown, shown.watch(lambda: STATE, lambda: BOARD, STAGES):
        wait(lambda: "150/300" in stream.getvalue())
        shown.say("something to know")
    return str(stream.getvalue())


def test_a_log_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(io.StringIO(), monkeypatch)
    line = text.splitlines()[0]
    assert (
        line
        == "[0 s] 2/3 titles, 1 failed, 150/300 frames; finding faces 200/300 frames, painting 150/300 frames"
    )
    assert "something to know\n" in text
    assert "\r" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_gets_plain_lines_where_it_asks_for_them(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in show(Terminal(), monkeypatch)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = show(Terminal(), monkeypatch)
    assert "2/3 titles · 1 failed · 150/300 frames" in text
    assert "finding faces 200/300 frames · painting" in text
    assert "\x1b[2K" in text, "it is drawn over"
    assert "\x1b[?25h" in text, "the cursor comes back"


def test_messages_of_others_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines on standard error while the bar is drawn are not torn by it, nor it by them."""
    pyte = pytest.importorskip("pyte")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress, "TERMINAL_PERIOD", 0.01)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(stream) as shown, shown.watch(lambda: STATE, lambda: BOARD, STAGES):
        wait(lambda: "150/300" in stream.getvalue())
        for number in range(3):
            print(f"note {number}", file=sys.stderr)
            time.sleep(0.05)
        during = stream.getvalue()
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(during.replace("\n", "\r\n"))
    lines = [line.rstrip() for line in screen.display if line.strip()]
    assert lines[:3] == ["note 0", "note 1", "note 2"]
    assert len(lines) == 5
    assert "150/300 frames" in lines[3]
    assert lines[4].startswith("  finding faces 200/300 frames")
    pyte.Stream(screen).feed(stream.getvalue()[len(during) :].replace("\n", "\r\n"))
    assert [line.rstrip() for line in screen.display if line.strip()] == ["note 0", "note 1", "note 2"], (
        "the bar goes when it ends"
    )


def test_what_comes_before_a_run_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(stream) as shown:
        shown.phase("starting Ray")
        wait(lambda: "starting Ray" in stream.getvalue())
    monkeypatch.setattr(progress, "PHASE_PATIENCE", 0.0)
    log = io.StringIO()
    with Progress(log) as shown:
        shown.phase("starting Ray")
        wait(lambda: "starting Ray\n" in log.getvalue())
        shown.phase("starting Ray")
    assert log.getvalue().count("starting Ray") == 1


def test_a_display_can_be_handed_on() -> None:
    with Progress(None) as outer, Progress.of(outer) as inner:
        assert inner is outer
    stream = io.StringIO()
    with Progress.of(stream) as made:
        made.say("hello")
    assert stream.getvalue() == "hello\n"


def test_a_board_that_does_not_answer_for_a_while_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node has died and it is being restarted: the log goes on when it is back, and the run never
    noticed.
    """
    monkeypatch.setattr(progress, "PERIOD", 0.02)
    log = RunLog(str(tmp_path), "test", profile_config(), {"level": ("rest", 1.0, 0.0, 2)})
    calls: list[int] = []

    def coordinator() -> dict[str, Any]:
        calls.append(1)
        if 2 <= len(calls) <= 4:
            raise ConnectionError("gone")
        level = WorkKey(("level", "paint"), "a b", 0)
        running = [
            level._replace(unit="row in batch"),
            level._replace(unit="batch"),
            WorkKey(("plan",), "a"),
        ]
        return {
            "stages": {"level": {"rows": len(calls), "frames": 5, "seconds": 1.0, "errors": 0}},
            "running": running,
        }

    stream = io.StringIO()
    with Progress(stream) as shown, shown.watch(lambda: STATE, coordinator, LEVEL, log):
        wait(lambda: len(calls) >= 7)
    assert shown.problem == ""
    assert "not complete" not in stream.getvalue()
    (written,) = read_logs(str(tmp_path))
    assert written["outcome"] == "ended"
    assert written["stages"]["level"]["rows"] == len(calls)
    assert (written["stages"]["level"]["running"], written["stages"]["plan"]["running"]) == (1, 1), (
        "a batch's rows are listed themselves"
    )


def test_a_log_that_cannot_be_written_is_said_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = RunLog(str(tmp_path / "file"), "test", profile_config(), {})
    stream = io.StringIO()
    with Progress(stream) as shown, shown.watch(lambda: STATE, lambda: EMPTY, LEVEL, log):
        pass
    assert "Error" in shown.problem
    assert "the run's log and metrics are not complete" in stream.getvalue()


def test_an_interrupted_run_says_so_in_its_log(tmp_path: Path) -> None:
    log = RunLog(str(tmp_path), "test", profile_config(), {})
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(None) as shown,
        shown.watch(lambda: STATE, lambda: EMPTY, LEVEL, log),
    ):
        raise KeyboardInterrupt
    assert read_logs(str(tmp_path))[0]["outcome"] == "interrupted"
