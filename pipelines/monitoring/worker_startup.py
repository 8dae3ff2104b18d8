"""Workers that do not come up, with the state of their processes, for the progress line, the run's log and
`retalk status`.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

#: States of a process in the kernel's words.
STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting for a disk",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "ended",
}
PROC = Path("/proc")
#: States of a process that has ended.
GONE = ("gone", "ended (Z)")
#: Milliseconds between two looks at processes whose end the kernel does not tell.
LOOK_PERIOD = 50


class StartWatch:
    """Adds the workers that are not up to the coordinator's snapshot.

    Args:
        expected: how many workers of each group there are to be at least, by the group's name.
    """

    def __init__(self, expected: Mapping[str, int]) -> None:
        self.expected = dict(expected)
        self._began = time.monotonic()

    def look(self, snapshot: Mapping[str, Any]) -> dict[str, Any]:
        """The snapshot, with ``starting`` as ``{group, node, pid, seconds, state}`` for each worker that is
        not up.

        Workers of a group that have no process yet are one entry, without a node and with pid 0.
        """
        starting = [
            {
                **{name: worker[name] for name in ("group", "node", "pid", "seconds")},
                "state": describe(worker),
            }
            for worker in snapshot.get("starting", ())
        ]
        seen, elapsed = snapshot.get("workers", {}), round(time.monotonic() - self._began, 1)
        for group, count in self.expected.items():
            if (missing := count - seen.get(group, 0)) > 0:
                state = f"waiting for CPUs, GPUs or memory: {missing} of {count} workers"
                starting.append({"group": group, "node": "", "pid": 0, "seconds": elapsed, "state": state})
        return {**snapshot, "starting": starting}


def describe(worker: Mapping[str, Any]) -> str:
    """Describe a starting worker: the phase that it has reported, and the state of its process if it is on this
    machine.
    """
    if worker["node"] != socket.gethostname():
        return str(worker["phase"])
    state = process_state(worker["pid"])
    stopped = [f"its child {name} ({pid}): {process_state(pid)}" for pid, name in children(worker["pid"])]
    return "; ".join([f"{worker['phase']}, {state}", *stopped])


def _stat(pid: int) -> tuple[str, list[str]]:
    """Name of a process and the fields of its ``stat`` behind the name."""
    name, _, rest = (PROC / str(pid) / "stat").read_text().partition("(")[2].rpartition(")")
    return name, rest.split()


def process_state(pid: int) -> str:
    """State of a process on this machine, such as ``stopped (T)``."""
    try:
        _, (letter, *_) = _stat(pid)
    except (OSError, ValueError):
        return "gone" if PROC.is_dir() else "state unknown"
    return f"{STATES.get(letter, 'state')} ({letter})"


def children(pid: int) -> list[tuple[int, str]]:
    """Ids and names of the programs that a process on this machine runs."""
    found = []
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if entry.name.isdigit():
            try:
                name, fields = _stat(int(entry.name))
                if int(fields[1]) == pid:
                    found.append((int(entry.name), name))
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
    return found


def first_ended(pids: Collection[int], stop: int) -> int | None:
    """Wait for the end of one of some processes on this machine; that costs nothing where the kernel tells it (Linux 5.3).

    Args:
        pids: of the processes.
        stop: read end of a pipe that nobody writes to; the end of its other end ends the waiting.

    Returns:
        Id of the process; None if the waiting was ended.
    """
    with ExitStack() as stack:
        poll, period = select.poll(), None
        poll.register(stop, 0)
        for pid in pids:
            try:
                told = os.pidfd_open(pid)
            except ProcessLookupError:
                return pid
            except (AttributeError, OSError):
                period = LOOK_PERIOD
            else:
                stack.callback(os.close, told)
                poll.register(told, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(period)]
            for pid in pids:
                if process_state(pid) in GONE:
                    return pid
            if stop in ready:
                return None
