"""Workers that do not come up: who is missing, and what a process is doing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from pipelines.monitoring.worker_startup import StartWatch, children, process_state
from pipelines.state.coordinator import Coordinator


def test_workers_are_listed_until_they_are_up() -> None:
    coordinator = Coordinator()
    coordinator.starting("one", "detect", "elsewhere", 17, "importing")
    coordinator.starting("two", "detect", "elsewhere", 18, "importing")
    coordinator.up("two")
    shown = StartWatch({"detect": 3, "render": 1}).look(coordinator.snapshot())["starting"]
    assert [(worker["group"], worker["pid"], worker["node"]) for worker in shown] == [
        ("detect", 17, "elsewhere"),
        ("detect", 0, ""),
        ("render", 0, ""),
    ]
    assert [worker["state"] for worker in shown] == [
        "importing",
        "waiting for CPUs, GPUs or memory: 1 of 3 workers",
        "waiting for CPUs, GPUs or memory: 1 of 1 workers",
    ]
    coordinator.starting("two", "detect", "elsewhere", 19, "importing")
    assert [worker["pid"] for worker in coordinator.snapshot()["starting"]] == [17, 19], (
        "its process was started again"
    )


def test_a_stopped_process_and_its_stopped_child_are_named() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(300)'])"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        os.killpg(parent.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 60
        for pid in (parent.pid, *(pid for pid, _ in children(parent.pid))):
            while process_state(pid) != "stopped (T)":
                assert time.monotonic() < deadline
                time.sleep(0.01)
        coordinator = Coordinator()
        coordinator.starting("one", "plan", socket.gethostname(), parent.pid, "importing")
        (worker,) = StartWatch({"plan": 1}).look(coordinator.snapshot())["starting"]
        assert worker["state"].startswith("importing, stopped (T); its child python")
        assert worker["state"].endswith("stopped (T)")
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    assert process_state(parent.pid) == "gone"
