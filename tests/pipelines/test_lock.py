"""The run lock: a second run is refused, a dead or silent one is taken over, and whoever was taken over notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import lock as lock_module
from pipelines.lock import LockedError, RunLock, holder


def test_second_run_is_refused_and_the_first_lets_go(tmp_path: Path) -> None:
    with RunLock(str(tmp_path)):
        assert (holder(str(tmp_path)) or {})["pid"] == os.getpid()
        with pytest.raises(LockedError, match=rf"another run is at work here \(process {os.getpid()} on"), RunLock(str(tmp_path)):
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
    code = f"from pipelines.lock import RunLock; import os; RunLock({str(tmp_path)!r}).__enter__(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / "lock.json").exists()
    with RunLock(str(tmp_path)):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(("age", "free"), [(0.0, False), (lock_module.STALE - 5, False), (lock_module.STALE + 1, True)])
def test_a_run_elsewhere_is_dead_when_it_is_silent(tmp_path: Path, age: float, free: bool) -> None:
    foreign = {"owner": "x", "machine": "elsewhere", "pid": 1, "started": 0, "beat": time.time() - age}
    (tmp_path / "lock.json").write_text(json.dumps(foreign))
    if free:
        with RunLock(str(tmp_path)):
            pass
    else:
        with pytest.raises(LockedError, match="process 1 on elsewhere"), RunLock(str(tmp_path)):
            pass


def test_a_damaged_lock_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{")
    with RunLock(str(tmp_path)):
        pass


def test_whoever_was_taken_over_stops_and_leaves_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "BEAT", 0.02)
    foreign = json.dumps({"owner": "x", "machine": "elsewhere", "pid": 1, "started": 0, "beat": time.time()})
    with RunLock(str(tmp_path)) as lock:
        lock.check()
        (tmp_path / "lock.json").write_text(foreign)
        assert lock.lost.wait(10)
        with pytest.raises(LockedError, match="has taken this directory over"):
            lock.check()
    assert (tmp_path / "lock.json").read_text() == foreign


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "BEAT", 0.02)
    with RunLock(str(tmp_path)):
        first = json.loads((tmp_path / "lock.json").read_text())["beat"]
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "lock.json").read_text())["beat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
