"""`--log-file`: what is written, how often, and what never is."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.monitoring.command_log import LOGGER, command_log
from pipelines.monitoring.progress import Progress


def test_steps_notes_and_warnings_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    for number in range(2):
        with command_log(str(path)), Progress(None) as shown:
            shown.phase(f"step {number}")
            shown.say("a note")
            logging.getLogger("somebody").warning("of a library")
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                logging.captureWarnings(True)
                warnings.warn("a warning", stacklevel=1)
    LOGGER.warning("after the end")
    text = path.read_text()
    for number in range(2):
        assert f"INFO retalk: step {number}\n" in text
    for words in ("INFO retalk: a note", "WARNING somebody: of a library", "UserWarning: a warning"):
        assert text.count(words) == 2, words
    assert "after the end" not in text
    assert handlers() == []


def handlers() -> list[logging.Handler]:
    return [handler for handler in LOGGER.handlers if not isinstance(handler, logging.NullHandler)]


def test_an_error_is_there_with_its_traceback_and_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with pytest.raises(RuntimeError), command_log(str(path)):
        raise RuntimeError("https://host/x?token=abcd broke")
    text = path.read_text()
    assert "Traceback (most recent call last):" in text
    assert Path(__file__).name in text
    assert "abcd" not in text
    with pytest.raises(KeyboardInterrupt), command_log(str(path)):
        raise KeyboardInterrupt
    assert "WARNING retalk: interrupted" in path.read_text()


def test_the_command_is_there_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["retalk", "dub", "https://host/v.mp4?sig=abcd"])
    with command_log(str(tmp_path / "a.log")):
        pass
    text = (tmp_path / "a.log").read_text()
    assert "retalk dub https://host/v.mp4?***" in text
    assert "abcd" not in text


def test_nothing_is_written_without_a_file() -> None:
    with command_log(None):
        assert handlers() == []


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"--log-file .*: is a folder; give the name of a file in it"),
        command_log(str(tmp_path)),
    ):
        pass
    for folder in ("file", "absent"):
        with (
            pytest.raises(UsageError, match=rf"--log-file .*there is no folder {tmp_path / folder}"),
            command_log(str(tmp_path / folder / "x.log")),
        ):
            pass
    assert not (tmp_path / "absent").exists()
