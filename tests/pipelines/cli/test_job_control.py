"""A dub that is stopped with Ctrl-Z in a shell, and goes on."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.monitoring.worker_startup import children, process_state
from tests.pipelines.cli.test_terminal import command
from tests.terminal import members

ROOT = Path(__file__).parents[3]


class Shell:
    """``bash -i`` on a terminal of its own."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
            finally:
                os._exit(127)
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait(self, condition: Callable[[], bool]) -> None:
        """Read what is written until a condition holds."""
        deadline = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < deadline, self.text
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.text += os.read(self._terminal, 1 << 16).decode(errors="replace")

    def close(self) -> None:
        for process in members(self.pid):
            os.kill(process, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@pytest.mark.parametrize("runner", ["local", "ray"])
def test_ctrl_z_stops_a_dub_and_it_goes_on(footage: Path, tmp_path: Path, runner: str) -> None:
    log, gate = tmp_path / "log", tmp_path / "go"
    held = ["--set", f"paint.log={log}", "--set", f"paint.wait={gate}"]
    words = command("dub", runner, footage, tmp_path, *held)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    more = {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "TERM": "xterm", "PS1": "$ "}
    shell = Shell({**kept, **more, "RAY_TMPDIR": tempfile.gettempdir()}, tmp_path)
    try:
        shell.type(f"{shlex.join(words)}; echo ended with $?\n")
        shell.wait(log.exists)
        (dub,) = [pid for pid, name in children(shell.pid) if name.startswith(Path(sys.executable).name[:6])]
        shell.type("\x1a")
        shell.wait(lambda: process_state(dub) == "stopped (T)")
        shell.wait(lambda: "Stopped" in shell.text)
        gate.touch()
        shell.type("fg; echo went on, ended with $?\n")
        shell.wait(lambda: "went on, ended with 0" in shell.text)
    finally:
        shell.close()
    assert (tmp_path / "out" / "a.mp4").exists()
