"""Workers that do not come up: who is missing, and what a process is doing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.monitoring.worker_startup import StartWatch, children, first_ended, process_state
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


@pytest.fixture(params=[True, False], ids=["the kernel tells", "looked at again and again"])
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.delattr(os, "pidfd_open", raising=False)


def sleepers(count: int) -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(count)]


def test_the_first_process_that_ends_is_told(told: None) -> None:
    stays, ends = sleepers(2)
    stop, stopping = os.pipe()
    try:
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(first_ended, [stays.pid, ends.pid], stop)
            ends.kill()
            assert found.result(60) == ends.pid, "also before its parent has asked for its exit code"
        ends.wait()
        assert first_ended([stays.pid, ends.pid], stop) == ends.pid, "also one that is gone already"
    finally:
        for process in (stays, ends):
            process.kill()
            process.wait()
        os.close(stopping)
        os.close(stop)


def test_waiting_for_the_end_of_processes_can_be_ended(told: None) -> None:
    (stays,) = sleepers(1)
    stop, stopping = os.pipe()
    try:
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(first_ended, [stays.pid], stop)
            os.close(stopping)
            assert found.result(60) is None
    finally:
        stays.kill()
        stays.wait()
        os.close(stop)
