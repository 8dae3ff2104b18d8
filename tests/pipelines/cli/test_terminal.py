"""`retalk` on a terminal, with an ``ffmpeg`` on PATH that touches it: nothing we start is stopped by it, and
Ctrl-C ends everything.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines.cli.status import describe, read_status
from tests.pipelines.conftest import engine_config, profile_config
from tests.terminal import fake_program, on_terminal

ROOT = Path(__file__).parents[3]
#: Commands and runners. On Ray the two commands differ in nothing that a terminal sees, so that one is enough every time.
WAYS = [
    ("dub", "local"),
    ("run", "local"),
    ("run", "ray"),
    pytest.param("dub", "ray", marks=pytest.mark.slow),
]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell with such an ``ffmpeg``."""
    fake_program(tmp_path / "bin", "ffmpeg")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(tmp_path / "bin"), kept.get("PATH", "")])
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",
        "TERM": "xterm",
        "OMP_NUM_THREADS": "1",
    }


def command(kind: str, runner: str, footage: Path, folder: Path, *more: str) -> list[str]:
    """``retalk dub`` or ``run`` of one short title."""
    engine, profile = folder / "engine.yaml", folder / "profile.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(1, store_mib=100).model_dump(exclude_none=True)))
    options = ["--engine", str(engine), "--profile", str(profile), "--runner", runner, *more]
    if kind == "dub":
        files = [str(footage / "a.mp4"), str(footage / "exact.wav"), "-o", str(folder / "out" / "a.mp4")]
    else:
        row = {
            "id": "a",
            "video": str(footage / "a.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": "a.mp4",
        }
        (folder / "m.jsonl").write_text(json.dumps(row) + "\n")
        files = [str(folder / "m.jsonl"), "-o", str(folder / "out")]
    return [sys.executable, "-m", "pipelines", kind, *files, *options]


@pytest.mark.parametrize(("kind", "runner"), WAYS)
def test_a_title_is_dubbed_on_a_terminal(
    footage: Path, tmp_path: Path, environment: dict[str, str], kind: str, runner: str
) -> None:
    ended = on_terminal(command(kind, runner, footage, tmp_path), environment, tmp_path)
    assert ended.code == 0, ended.text
    assert (tmp_path / "out" / "a.mp4").exists()
    assert "(raylet)" not in ended.text, "Ray's own lines are in a file"
    assert not (tmp_path / "bin" / "ffmpeg-ran").exists(), "an import has run a program"
    assert ended.restored
    assert not ended.left


@pytest.mark.parametrize(("kind", "runner"), WAYS)
def test_ctrl_c_ends_all_of_it(
    footage: Path, tmp_path: Path, environment: dict[str, str], kind: str, runner: str
) -> None:
    log, gate = tmp_path / "log", tmp_path / "go"
    held = ["--set", f"paint.log={log}", "--set", f"paint.wait={gate}"]
    ended = on_terminal(command(kind, runner, footage, tmp_path, *held), environment, tmp_path, log.exists)
    assert ended.code == 130, ended.text
    assert ended.text.count("interrupted") == 1
    assert "Traceback" not in ended.text
    assert not (tmp_path / "out" / "a.mp4").exists()
    assert ended.restored
    assert not ended.left
    gate.touch()
    again = on_terminal(command(kind, "local", footage, tmp_path, *held), environment, tmp_path)
    assert again.code == 0, again.text


def test_a_worker_that_does_not_come_up_is_told(
    footage: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its set-up waits for a file: progress and `retalk status` say which worker, and what its process does."""
    monkeypatch.setattr("pipelines.cli.status.SLOW_START", 1.0)
    gate, out, told = tmp_path / "go", tmp_path / "out", list[float]()
    words = command("run", "ray", footage, tmp_path)
    engine = engine_config().model_dump()
    engine["stages"][-1]["stage"] = "tests.pipelines.stages:SlowToStart"
    (tmp_path / "engine.yaml").write_text(yaml.safe_dump(engine))
    line = (
        r"a worker of brightness\+level\+paint has not come up for \d+ s "
        r"\(process \d+ on \S+, importing, [\w ]+ \(\w\)"
    )

    def told_by_status() -> bool:
        """Open the gate two seconds after the status says it; interrupt nothing."""
        status = "\n".join(describe(str(out), read_status(str(out)))) if (out / "run.json").exists() else ""
        if not told and re.search(line, status):
            told.append(time.monotonic())
        if told and time.monotonic() > told[0] + 2:
            gate.touch()
        return False

    slow = {**environment, "RETALK_SLOW_START": "1", "SLOW_TO_START": str(gate), "COLUMNS": "200"}
    ended = on_terminal(words, slow, tmp_path, told_by_status)
    assert ended.code == 0, ended.text
    assert told, "`retalk status` has said it"
    assert re.search(line, ended.text), "the progress display has said it"
