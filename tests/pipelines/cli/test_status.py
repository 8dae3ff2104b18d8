"""Status and the run's log: of a run that goes on, that was killed, that has ended; for people and for
machines.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml

from pipelines.cli import main as cli
from pipelines.cli.status import read_status, show_status
from pipelines.errors import UsageError
from pipelines.monitoring import run_log
from pipelines.monitoring.run_log import RunLog, node_shapes, read_logs
from pipelines.monitoring.worker_startup import children
from pipelines.state.lock import STALE, RunLock
from tests.pipelines.conftest import engine_config, profile_config

STATE = {
    "titles": 4,
    "planned_titles": 3,
    "ended": 2,
    "failed": 1,
    "planned": 90,
    "done": 30,
    "elapsed": 10.0,
    "fps": 3.0,
    "eta": 30.0,
}
BOARD = {"stages": {"level": {"rows": 3, "frames": 30, "seconds": 6.0, "errors": 1}}}


@pytest.fixture
def command(footage: Path, tmp_path: Path) -> list[str]:
    """A run of two titles that stands still in the third segment of the first until `go` is there."""
    rows = [
        {"id": "a", "video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav"), "output": "a.mp4"},
        {
            "id": "b",
            "video": str(footage / "absent.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": "b.mp4",
        },
    ]
    files = {
        "engine": engine_config().model_dump(),
        "profile": profile_config(2).model_dump(exclude_none=True),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [
        "--engine",
        str(tmp_path / "engine.yaml"),
        "--profile",
        str(tmp_path / "profile.yaml"),
        "--runner",
        "local",
        "--quiet",
    ]
    wait = ["--set", f"paint.wait={tmp_path / 'go'}", "--set", f"paint.log={tmp_path / 'log'}"]
    return ["run", str(tmp_path / "m.jsonl"), "-o", str(tmp_path / "out"), *options, *wait]


def test_live_killed_and_finished(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    process = subprocess.Popen([sys.executable, "-m", "pipelines", *command], cwd=Path(__file__).parents[3])
    deadline = time.monotonic() + 120
    while (
        not read_logs(out)
        or not (tmp_path / "log").exists()
        or len((tmp_path / "log").read_text().split()) < 2
    ):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    live = read_status(out)
    assert live["state"] == "running"
    worker = live["running"]["pid"]
    assert worker in [pid for pid, _ in children(process.pid)], "a process above says how it ends"
    assert (live["titles"], live["done"], live["left"]) == (2, 0, 2)
    assert live["log"]["outcome"] == "running"
    assert live["log"]["titles"] == 2
    assert live["log"]["age"] < run_log.SILENT
    assert show_status(out) == 0
    assert f"running (process {worker} on " in capsys.readouterr().out

    process.send_signal(signal.SIGKILL)
    process.wait(60)
    deadline = time.monotonic() + 60
    while read_status(out)["state"] != "died":  # the kernel ends the process below it
        assert time.monotonic() < deadline, "the lock names a process that is gone"
        time.sleep(0.1)
    show_status(out)
    text = capsys.readouterr().out
    assert f"DIED: process {worker} on " in text
    assert "run the same `retalk run` again" in text

    (tmp_path / "go").touch()
    assert cli.main(command) == 3
    assert cli.main(["status", out, "--json"]) == 3
    after = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (after["state"], after["done"], len(after["failed"]), after["left"]) == ("finished", 1, 1, 0)
    assert "absent.mp4: no such file" in after["failed"][0]["error"]
    assert after["log"]["outcome"] == "ended"
    assert [log["outcome"] for log in read_logs(out)] == ["running", "ended"], (
        "one log a run; the killed one stays as it was"
    )
    stages = after["log"]["stages"]
    assert list(stages) == ["plan", "brightness", "level", "paint"]
    assert stages["plan"]["rows"] == 2
    assert stages["plan"]["errors"] == 1
    assert 1 <= stages["paint"]["rows"] <= 4, "of four segments those without a receipt"
    assert stages["paint"]["frames"] == after["log"]["done"]
    assert stages["paint"]["seconds"] > 0
    assert stages["level"]["pool"] == "rest"
    assert cli.main(["status", out, "--watch"]) == 3, "nobody is at work: it looks once"
    text = capsys.readouterr().out
    assert "stage       pool   rows" in text
    assert "finished; engine test" in text


def test_a_silent_heartbeat_is_a_dead_run(command: list[str], tmp_path: Path) -> None:
    """Another machine's process cannot be asked whether it lives: its heartbeat says so."""
    (tmp_path / "go").touch()
    out = tmp_path / "out"
    assert cli.main(command) == 3
    beat = time.time() - STALE - 1
    lock = {"owner": "x", "machine": "elsewhere pid:[1]", "pid": 7, "started": beat - 60, "beat": beat}
    (out / "lock.json").write_text(json.dumps(lock))
    status = read_status(str(out))
    assert (status["state"], status["running"], status["died"]["pid"]) == ("died", None, 7)
    (out / "lock.json").write_text(json.dumps({**lock, "beat": time.time()}))
    assert read_status(str(out))["state"] == "running"


def test_a_run_that_writes_nothing_any_more_may_hang(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "go").touch()
    out = str(tmp_path / "out")
    assert cli.main(command) == 3
    (log,) = (tmp_path / "out" / "runs").iterdir()
    log.write_text(json.dumps({**json.loads(log.read_text()), "outcome": "running"}))
    monkeypatch.setattr("pipelines.cli.status.SILENT", 0.0)
    with RunLock(out):
        time.sleep(0.2)
        assert read_status(out)["state"] == "silent"
        show_status(out)
        assert "possibly hung" in capsys.readouterr().out


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run \(no run\.json\)"):
        read_status(str(tmp_path))


def test_the_log_lies_at_any_url_and_adds_up_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    log = RunLog("memory://status/run", "test", profile_config(), {"level": ("rest", 0.5, 0.25, 3)})
    nodes: dict[str, int] = {"16c0g": 2}
    state: dict[str, Any] = {**STATE, "expected": 120}
    for _ in range(3):
        now[0] += 10
        log.write(state, BOARD, nodes)
        nodes = {"16c0g": 1, "44c4g": 1}
        state = {**state, "done": state["done"] + 20}
    (read,) = read_logs("memory://status/run")
    assert read["node_seconds"] == {"16c0g": 40.0, "44c4g": 20.0}
    assert read["recent_fps"] == pytest.approx(70 / 30, abs=0.01)
    assert read["stages"]["level"] == {
        **{"rows": 3, "frames": 30, "seconds": 6.0, "errors": 1, "running": 0},
        **{"pool": "rest", "num_cpus": 0.5, "num_gpus": 0.25, "most": 3},
    }
    assert read["stages"]["plan"]["rows"] == 0
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/status/run/runs/zzz.json", b"{half")
    assert len(read_logs("memory://status/run")) == 1, "a damaged log is not trusted"
    assert read_logs("memory://status/none") == []


def test_forms_of_living_nodes() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0}},
        {"Alive": True, "Resources": {"CPU": 16.0}},
        {"Alive": True, "Resources": {"CPU": 44.0, "GPU": 4.0}},
        {"Alive": False, "Resources": {"CPU": 44.0, "GPU": 4.0}},
        {"Alive": True, "Resources": {}},
    ]
    assert node_shapes(nodes) == {"16c0g": 2, "44c4g": 1}
    assert run_log.size_of("44c4g") == (44.0, 4.0)


def test_workers_that_do_not_come_up_are_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "go").touch()
    assert cli.main(command) == 3
    (path,) = (tmp_path / "out" / "runs").glob("*.json")
    early = {"group": "paint", "node": "host", "pid": 5, "seconds": 30.0, "state": "importing, running (R)"}
    late = {
        "group": "brightness",
        "node": "host",
        "pid": 7,
        "seconds": 75.0,
        "state": "importing, stopped (T)",
    }
    path.write_text(
        json.dumps(
            {
                **json.loads(path.read_text()),
                "updated": time.time(),
                "outcome": "running",
                "starting": [early, late],
            }
        )
    )
    with RunLock(str(tmp_path / "out")):
        capsys.readouterr()
        show_status(str(tmp_path / "out"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "has not come up" in line]
    assert lines == [
        "a worker of brightness has not come up for 1 min 15 s (process 7 on host, importing, stopped (T))"
    ]


def test_titles_that_left_the_manifest_do_not_count(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "go").touch()
    out = str(tmp_path / "out")
    assert cli.main(command) == 3
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(manifest.read_text().splitlines(keepends=True)[0])
    assert cli.main(command) == 0
    capsys.readouterr()
    assert cli.main(["status", out]) == 0
    said = capsys.readouterr()
    assert "1 dub of 1 title: 1 done, 0 failed, 0 to go" in said.out
    assert "left out: 1 record of titles that are no longer in the manifest" in said.out
    assert "the last run: nothing was left to do" in said.out
    assert not said.err
    assert cli.main(["report", out]) == 0
    assert "Dubs: 1 of 1 done, 0 failed" in capsys.readouterr().out
