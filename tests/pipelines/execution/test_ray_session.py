"""A Ray of our own: nothing of the terminal goes into it, what it prints goes into a file, and its end is
told.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import RAY_LOST
from pipelines.execution.ray_output import kept_output
from pipelines.execution.ray_session import no_terminal_input
from pipelines.monitoring.worker_startup import children
from tests.pipelines.conftest import engine_config, profile_config
from tests.terminal import members

ROOT = Path(__file__).parents[3]


def test_processes_that_are_started_meanwhile_read_nothing() -> None:
    code = "import sys; print(len(sys.stdin.read()))"
    before = os.fstat(0)
    with no_terminal_input():
        assert (
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
            == "0\n"
        )
        assert os.path.samestat(os.fstat(0), os.stat(os.devnull))
    assert os.path.samestat(os.fstat(0), before)


def test_what_others_print_goes_into_a_file() -> None:
    code = (
        "import os, sys, logging\n"
        "from pipelines.execution.ray_output import kept_output\n"
        "with kept_output() as path:\n"
        "    os.write(2, b'core\\n'); os.write(1, b'core\\n'); logging.getLogger('ray.x').error('logged')\n"
        "    print('ours'); print('ours too', file=sys.stderr)\n"
        "print(path.read_text().split()); path.unlink()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.stderr == "ours too\n"
    assert ended.stdout == "ours\n['core', 'core', 'logged']\n"


def test_a_file_without_content_does_not_stay() -> None:
    with kept_output() as path:
        assert path.exists()
    assert not path.exists()


def test_the_raylet_is_killed_and_the_run_says_so(footage: Path, tmp_path: Path) -> None:
    log, gate, said = tmp_path / "log", tmp_path / "go", tmp_path / "said.txt"
    engine, profile, manifest = tmp_path / "engine.yaml", tmp_path / "profile.yaml", tmp_path / "m.jsonl"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(1, store_mib=100).model_dump(exclude_none=True)))
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "a.mp4",
    }
    manifest.write_text(json.dumps(row) + "\n")
    options = [
        "--engine",
        str(engine),
        "--profile",
        str(profile),
        "--set",
        f"paint.log={log}",
        "--set",
        f"paint.wait={gate}",
    ]
    command = [sys.executable, "-m", "pipelines", "run", str(manifest), "-o", str(tmp_path / "out"), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "disabled"
    }
    with said.open("wb") as out:
        pipes: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": out,
            "stderr": out,
            "start_new_session": True,
        }
        process = subprocess.Popen([*command, "--runner", "ray"], cwd=ROOT, env=environment, **pipes)
    deadline = time.monotonic() + 300
    while not log.exists() or len(log.read_text().split()) < 3:
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (raylet,) = [pid for pid, name in children(process.pid) if name == "raylet"]
    os.kill(raylet, signal.SIGKILL)
    assert process.wait(120) == RAY_LOST, said.read_text()
    text = said.read_text()
    assert f"Ray has ended by itself (its raylet, process {raylet}, is gone" in text
    assert "Traceback" not in text
    assert not (tmp_path / "out" / "lock.json").exists()
    deadline = time.monotonic() + 60
    while left := members(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    gate.touch()
    done = len(log.read_text().split())
    again = subprocess.run(
        [*command, "--runner", "local"],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert len(log.read_text().split()) - done < 4, "what was committed is not computed again"
