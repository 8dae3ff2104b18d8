"""Progress: what a log and a terminal show of a run."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import progress
from pipelines.progress import Meter, Progress, duration
from pipelines.runlog import RunLog, read_logs
from tests.pipelines.conftest import profile_config


def test_durations_for_people() -> None:
    assert [duration(s) for s in (0.4, 59.4, 59.6, 200, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_meter_expects_unplanned_titles_to_be_like_the_planned() -> None:
    meter = Meter()
    meter.began = time.monotonic() - 10
    state = meter.read({"titles": 10, "planned_titles": 4, "ended": 1, "failed": 0, "planned": 400, "done": 100})
    assert state["expected"] == 1000
    assert state["fps"] == pytest.approx(10, rel=0.01)
    assert state["eta"] == pytest.approx(90, rel=0.01)
    assert meter.read({"titles": 10, "planned_titles": 0, "ended": 0, "failed": 0, "planned": 0, "done": 0})["eta"] is None


STATE = {"titles": 3, "planned_titles": 3, "ended": 2, "failed": 1, "planned": 300, "done": 150}


def show(stream: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress, "LOG_PERIOD", 0.01)
    monkeypatch.setattr(progress, "TERMINAL_PERIOD", 0.01)
    board = {"stages": {"render": {"rows": 4}, "plan": {"rows": 3}, "detect": {"rows": 5}}}
    with Progress(lambda: STATE, lambda: board, ["detect", "render"], stream):
        deadline = time.monotonic() + 10
        while "150/300" not in stream.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return str(stream.getvalue())


def test_a_log_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    line = show(io.StringIO(), monkeypatch).splitlines()[0]
    assert "2/3 titles, 1 failed, 150/300 frames" in line
    assert line.endswith("| plan 3 detect 5 render 4")
    assert "\r" not in line
    assert "\x1b" not in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(Terminal(), monkeypatch)
    assert "2/3 titles, 1 failed" in text
    assert "\r" in text


def test_a_board_that_does_not_answer_for_a_while_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node has died and it is being restarted: the log goes on when it is back, and the run never noticed."""
    monkeypatch.setattr(progress, "PERIOD", 0.02)
    log = RunLog(str(tmp_path), "test", profile_config(), {"level": ("rest", 1.0, 0.0, 2)})
    calls: list[int] = []

    def board() -> dict[str, Any]:
        calls.append(1)
        if 2 <= len(calls) <= 4:
            raise ConnectionError("gone")
        running = ["a b/0 level in bundle", "a b/0 level bundle", "a plan"]
        return {"stages": {"level": {"rows": len(calls), "frames": 5, "seconds": 1.0, "errors": 0}}, "running": running}

    stream = io.StringIO()
    with Progress(lambda: STATE, board, ["level"], stream, log) as shown:
        deadline = time.monotonic() + 20
        while len(calls) < 7:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert shown.problem == ""
    assert "not complete" not in stream.getvalue()
    (written,) = read_logs(str(tmp_path))
    assert written["outcome"] == "ended"
    assert written["stages"]["level"]["rows"] == len(calls)
    assert (written["stages"]["level"]["running"], written["stages"]["plan"]["running"]) == (1, 1), "a bundle's rows are listed themselves"


def test_a_log_that_cannot_be_written_is_said_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = RunLog(str(tmp_path / "file"), "test", profile_config(), {})
    stream = io.StringIO()
    with Progress(lambda: STATE, lambda: {"stages": {}, "running": []}, ["level"], stream, log) as shown:
        pass
    assert "Error" in shown.problem
    assert "the run's log and metrics are not complete" in stream.getvalue()


def test_an_interrupted_run_says_so_in_its_log(tmp_path: Path) -> None:
    log = RunLog(str(tmp_path), "test", profile_config(), {})
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(lambda: STATE, lambda: {"stages": {}, "running": []}, ["level"], None, log),
    ):
        raise KeyboardInterrupt
    assert read_logs(str(tmp_path))[0]["outcome"] == "interrupted"
