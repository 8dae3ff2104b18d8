"""The run lock: a second run is refused, a dead or silent one is taken over, and whoever was taken over
notices.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.state import lock as lock_module
from pipelines.state.lock import LockedError, RunLock, holder
from pipelines.state.run_directory import write_text


def test_second_run_is_refused_and_the_first_lets_go(tmp_path: Path) -> None:
    with RunLock(str(tmp_path)):
        assert (holder(str(tmp_path)) or {})["pid"] == os.getpid()
        with (
            pytest.raises(LockedError, match=rf"another run is at work here \(process {os.getpid()} on"),
            RunLock(str(tmp_path)),
        ):
            pass
    assert holder(str(tmp_path)) is None
    with RunLock(str(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


def test_memory_urls_lock_too() -> None:
    with RunLock("memory://locked"), pytest.raises(LockedError), RunLock("memory://locked"):
        pass
    with RunLock("memory://locked"):
        pass


def test_a_dead_process_on_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    code = f"from pipelines.state.lock import RunLock; import os; RunLock({str(tmp_path)!r}).__enter__(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / "lock.json").exists()
    with RunLock(str(tmp_path)):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()


def test_a_process_that_is_being_killed_is_waited_for_and_taken_over(tmp_path: Path) -> None:
    """As after ``kill -9`` of the terminal's process: the worker is still giving its memory back."""
    code = (
        "import sys, time; from pipelines.state.lock import RunLock; big = bytearray(300_000_000);"
        f"RunLock({str(tmp_path)!r}).__enter__(); print('here', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"here\n"
        with pytest.raises(LockedError), RunLock(str(tmp_path)):
            pass
        run.kill()
        with RunLock(str(tmp_path)):
            assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("age", "free"), [(0.0, False), (lock_module.STALE - 5, False), (lock_module.STALE + 1, True)]
)
def test_a_run_elsewhere_is_dead_when_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, free: bool
) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.02)
    foreign = {"owner": "x", "machine": "elsewhere", "pid": 1, "started": 0, "beat": time.time() - age}
    (tmp_path / "lock.json").write_text(json.dumps(foreign))
    if free:
        with RunLock(str(tmp_path)):
            pass
    else:
        with pytest.raises(LockedError, match="process 1 on elsewhere"), RunLock(str(tmp_path)):
            pass


@pytest.mark.parametrize("ahead", [-1000.0, 1000.0])
def test_a_run_elsewhere_whose_clock_is_wrong_is_alive_while_its_heart_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.1)
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            lock = {"owner": "x", "machine": "elsewhere", "pid": 1, "started": 0, "beat": time.time() + ahead}
            write_text(str(tmp_path / "lock.json"), json.dumps(lock))
            stop.wait(0.02)

    other = threading.Thread(target=beat)
    other.start()
    try:
        while not (tmp_path / "lock.json").exists():
            time.sleep(0.01)
        with pytest.raises(LockedError, match="process 1 on elsewhere"), RunLock(str(tmp_path)):
            pass
    finally:
        stop.set()
        other.join()
    with RunLock(str(tmp_path)):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()


def test_of_many_that_start_at_once_one_runs(tmp_path: Path) -> None:
    """Eight processes find a dead run's lock at the same time."""
    (tmp_path / "lock.json").write_text(
        json.dumps({"owner": "x", "machine": lock_module._machine(), "pid": 1 << 22, "beat": time.time()})
    )
    code = (
        "import sys, time\nfrom pipelines.state.lock import LockedError, RunLock\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
        f"try:\n with RunLock({str(tmp_path)!r}): print('held', flush=True); sys.stdin.readline()\n"
        "except LockedError: print('refused', flush=True)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    pipes = [(run.stdin, run.stdout) for run in runs]
    assert all(out is not None and out.readline() == "ready\n" for _, out in pipes)
    for into, _ in pipes:
        assert into is not None
        into.write("\n")
        into.flush()
    said = [out.readline().strip() for _, out in pipes if out is not None]
    for run in runs:
        run.communicate("\n")
    assert sorted(said) == ["held", *["refused"] * 7]
    assert not list(tmp_path.iterdir())


def test_who_is_refused_hears_of_the_run_at_work_whatever_others_are_trying(tmp_path: Path) -> None:
    """A third run comes while a second is looking whether the first is alive."""
    with RunLock(str(tmp_path)), lock_module._exclusive(str(tmp_path / "lock.json.claim")) as held:
        assert held
        with (
            pytest.raises(LockedError, match=rf"another run is at work here \(process {os.getpid()} on"),
            RunLock(str(tmp_path)),
        ):
            pass
    with (
        lock_module._exclusive(str(tmp_path / "lock.json.claim")),
        pytest.raises(LockedError, match="another run is just starting here"),
        RunLock(str(tmp_path)),
    ):
        pass


def test_a_run_killed_while_it_starts_leaves_the_way_free(tmp_path: Path) -> None:
    code = (
        "import os\nfrom pipelines.state.lock import RunLock\nRunLock._write = lambda self: os.kill(os.getpid(), 9)\n"
        f"RunLock({str(tmp_path)!r}).__enter__()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with RunLock(str(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"owner": 1}', '{"owner": "x", "machine": "m", "pid": "p", "beat": "b"}', "\x00\xff"],
)
def test_a_damaged_lock_is_no_lock(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock.json").write_text(content)
    with RunLock(str(tmp_path)):
        pass


def test_whoever_was_taken_over_stops_and_leaves_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.02)
    foreign = json.dumps({"owner": "x", "machine": "elsewhere", "pid": 1, "started": 0, "beat": time.time()})
    with RunLock(str(tmp_path)) as lock:
        lock.check()
        (tmp_path / "lock.json").write_text(foreign)
        assert lock.lost.wait(10)
        with pytest.raises(LockedError, match="has taken this directory over"):
            lock.check()
    assert (tmp_path / "lock.json").read_text() == foreign


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.02)
    with RunLock(str(tmp_path)):
        first = json.loads((tmp_path / "lock.json").read_text())["beat"]
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "lock.json").read_text())["beat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_process_that_has_ended_unasked_about_is_not_alive() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays as a zombie
        assert not lock_module._alive(pid)
        assert lock_module._alive(os.getpid())
    finally:
        os.waitpid(pid, 0)
