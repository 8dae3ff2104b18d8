"""Runs as processes of their own, and the processes below them: to be watched and killed by their ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.drills.catalogue import Setting

KINDS = ("MapWorker", "Assembler", "Coordinator")
ROOT = Path(__file__).parents[2]


def start(
    at: Setting, files: tuple[str, str, str], environment: Mapping[str, str] | None = None, *more: str
) -> subprocess.Popen[bytes]:
    """Start ``retalk run`` over a drill's catalogue; what it prints goes into a file beside it."""
    manifest, engine, profile = files
    command = [
        sys.executable,
        "-m",
        "benchmarks.drills.driver",
        "run",
        manifest,
        "-o",
        at.run_url,
        "--engine",
        engine,
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    clean = {
        **kept,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        **(environment or {}),
    }
    clean["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [clean.get("PYTHONPATH")])]
    )  # the workers' hook is imported from there
    with (at.folder / "said.txt").open("ab") as said:
        # The last runner given counts.
        command += ["--profile", profile, "--quiet", "--runner", "ray", *more]
        # Marks would differ from the calm run's: their ids depend on the files that a dub is made of.
        command += ["--watermark", "off"]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        return subprocess.Popen(command, cwd=ROOT, env=clean, start_new_session=True, **pipes)


def said(at: Setting) -> str:
    """Return the output of the runs."""
    return (at.folder / "said.txt").read_text()


def parents() -> dict[int, int]:
    """Parent of each process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
    return found


def descendants(root: int) -> list[int]:
    """Ids of all processes below one, without itself."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found[1:]


def command_of(pid: int) -> str:
    """A process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def workers(root: int) -> dict[int, str]:
    """The workers of a run below a process, with their names: planners, stages, assemblers, the
    coordinator.

    Ray's own helpers are not among them: a raylet ends itself when its agent dies, which is the drill of the
    nodes.
    """
    found = {pid: command_of(pid) for pid in descendants(root)}
    return {
        pid: name
        for pid, name in found.items()
        if name.startswith("ray::") and any(kind in name for kind in KINDS)
    }


def kill(pid: int) -> bool:
    """SIGKILL; False if the process had ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_gone(pids: list[int], seconds: float = 120.0) -> list[int]:
    """Wait until processes have ended (zombies count as ended); returns those that have not.

    Ray's agents need long: each looks for its raylet every few seconds, several times.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid in pids if command_of(pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)
