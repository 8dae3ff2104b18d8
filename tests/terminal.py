"""A command on a terminal of its own: a session with a controlling pseudo-terminal, as a user's shell gives
it.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """Outcome of a command on a terminal.

    Attributes:
        code: exit code; None: it did not end in time and was killed.
        text: what it wrote on the terminal.
        restored: the terminal's settings are those from before.
        left: processes of its session that are still there, by id.
    """

    code: int | None
    text: str
    restored: bool
    left: dict[int, str]


def members(session: int) -> dict[int, str]:
    """Processes of a session with their command lines, without those that have ended."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found[int(entry.name)] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
                    )
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
    return found


def on_terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    interrupt: Callable[[], bool] | None = None,
    seconds: float = 400,
) -> Ended:
    """Run a command on a new terminal until it ends.

    Args:
        command: program and arguments.
        environment: its whole environment.
        folder: working directory.
        interrupt: Ctrl-C is typed once this says so.
        seconds: after which it is killed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.execve(command[0], list(command), dict(environment))
        finally:
            os._exit(127)
    before, written, code, typed = termios.tcgetattr(terminal), b"", None, False
    deadline = time.monotonic() + seconds
    while code is None and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                written += os.read(terminal, 1 << 16)
            except OSError:  # nobody has the terminal open any more
                time.sleep(0.1)
        if interrupt is not None and not typed and interrupt():
            os.write(terminal, b"\x03")
            typed = True
        ended, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
    while code is not None and select.select([terminal], [], [], 0.1)[0]:
        try:  # what it wrote last
            if not (more := os.read(terminal, 1 << 16)):
                break
            written += more
        except OSError:
            break
    # Ray's agents look for their raylet now and then.
    patience = time.monotonic() + 60
    while code is not None and members(pid) and time.monotonic() < patience:
        time.sleep(0.2)
    left, restored = members(pid), termios.tcgetattr(terminal) == before
    for process in left:
        os.kill(process, signal.SIGKILL)
    if code is None:
        os.waitpid(pid, 0)
    os.close(terminal)
    return Ended(code, written.decode(errors="replace"), restored, left)


def fake_program(folder: Path, name: str) -> Path:
    """Write a program that notes that it ran, then changes the settings of its standard input and reads from
    it, as ``ffmpeg`` does.

    Returns:
        The file that exists once it has run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ran, program = folder / f"{name}-ran", folder / name
    program.write_text(f"""#!{sys.executable} -S
import os, sys, termios
open({str(ran)!r}, "w").close()
try:
    settings = termios.tcgetattr(0)
    settings[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(0, termios.TCSANOW, settings)
    os.read(0, 1)
except (OSError, termios.error):
    pass
""")
    program.chmod(0o755)
    return ran
