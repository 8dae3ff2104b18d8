"""A Ray of our own: nothing of the terminal goes into it, what it prints goes into a file, and its end is
told.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import RAY_LOST
from pipelines.execution import ray_session
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
        "with kept_output() as output:\n"
        "    os.write(2, b'core\\n'); os.write(1, b'core\\n'); logging.getLogger('ray.x').error('logged')\n"
        "    print('ours'); print('ours too', file=sys.stderr)\n"
        "    output.keep(); print(output.path.read_text().split()); output.path.unlink()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.stderr == "ours too\n"
    assert ended.stdout == "ours\n['core', 'core', 'logged']\n"


def test_the_file_stays_only_with_content_that_is_wanted() -> None:
    with kept_output() as empty:
        assert empty.path.exists()
        assert not empty.keep()
    assert not empty.path.exists()
    with kept_output() as unwanted:
        os.write(2, b"core")
    assert not unwanted.path.exists()
    with kept_output() as wanted:
        os.write(2, b"core")
        assert wanted.keep()
    assert wanted.path.read_text() == "core"
    wanted.path.unlink()


def failing_start(folder: Path, footage: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a catalogue that is large enough for Ray where Ray's first process ends at once."""
    engine, profile = folder / "engine.yaml", folder / "profile.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(1, store_mib=100).model_dump(exclude_none=True)))
    rows = [
        {
            "id": f"t{n}",
            "video": str(footage / "one.mp4"),
            "speech": str(footage / "short.wav"),
            "output": f"{n}.mp4",
        }
        for n in range(17)
    ]
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    broken = folder / "gcs_server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    code = (
        "import sys, retalk_cli, pipelines.execution.ray_session\n"
        "import ray._private.services as services\n"
        f"services.GCS_SERVER_EXECUTABLE = {str(broken)!r}\n"
        "sys.exit(retalk_cli.main())\n"
    )
    files = ["run", str(folder / "m.jsonl"), "-o", str(folder / "out")]
    configs = ["--engine", str(engine), "--profile", str(profile)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    kept["RAY_gcs_server_port_wait_time_s"] = "1"  # half a minute otherwise
    return subprocess.run(
        [sys.executable, "-c", code, *files, *configs, *options],
        check=False,
        cwd=ROOT,
        env={**kept, "RAY_AUTH_MODE": "disabled", "TMPDIR": str(folder), "RAY_TMPDIR": tempfile.gettempdir()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_ray_that_does_not_start_is_said_in_one_line(footage: Path, tmp_path: Path) -> None:
    ended = failing_start(tmp_path, footage, "--runner", "ray", "--quiet")
    assert ended.returncode == RAY_LOST, ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    (log,) = tmp_path.glob("retalk-ray-*.log")
    assert line.startswith("retalk run: Ray did not start: ")
    assert f"more is in {log}" in line
    assert line.endswith("run the same command again, or with --runner local")
    assert "Traceback" in log.read_text()
    assert not (tmp_path / "out" / "lock.json").exists()


class SlowRay:
    """Ray on a machine that is too busy for it a number of times: it leaves a process behind then."""

    def __init__(self, slow: int, said: str) -> None:
        self.slow, self.said = slow, said
        self.left: list[subprocess.Popen[bytes]] = []

    def init(self, **options: Any) -> None:
        assert options == {"address": "local"}
        if len(self.left) < self.slow:
            self.left.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
            raise Exception(self.said)

    def shutdown(self) -> None:
        pass


def test_a_start_that_was_too_slow_is_tried_again() -> None:
    slow = "The current node timed out during startup. This could happen because"
    busy = SlowRay(ray_session.STARTS - 1, slow)
    ray_session._start(busy, address="local")
    assert [process.wait(60) for process in busy.left] == [-signal.SIGTERM] * (ray_session.STARTS - 1)
    for ray, tries in ((SlowRay(99, slow), ray_session.STARTS), (SlowRay(99, "no such address"), 1)):
        with pytest.raises(Exception, match=ray.said):
            ray_session._start(ray, address="local")
        assert len(ray.left) == tries
        for process in ray.left:
            process.kill()
            process.wait()


def test_work_is_done_here_where_ray_does_not_start_and_nobody_asked_for_it(
    footage: Path, tmp_path: Path
) -> None:
    ended = failing_start(tmp_path, footage)
    assert ended.returncode == 0, ended.stderr
    (note,) = [line for line in ended.stderr.splitlines() if line.startswith("note: Ray did not start: ")]
    assert note.endswith("the work is done in this process, on one core")
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 17


def programs_below(pid: int) -> dict[str, int]:
    """Ids of the programs below a process, by name."""
    found = {}
    for child, name in children(pid):
        found |= {name: child, **programs_below(child)}
    return found


@pytest.mark.parametrize(
    ("program", "number"),
    [
        ("raylet", signal.SIGKILL),
        pytest.param("raylet", signal.SIGTERM, marks=pytest.mark.slow),
        ("gcs_server", signal.SIGKILL),
    ],
)
def test_ray_ends_and_the_run_says_so(
    footage: Path, tmp_path: Path, program: str, number: signal.Signals
) -> None:
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
        "RAY_AUTH_MODE": "disabled",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # a minute otherwise
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
    os.kill(programs_below(process.pid)[program], number)
    assert process.wait(120) == RAY_LOST, said.read_text()
    text = said.read_text()
    assert "Ray has ended by itself" in text
    assert "Run the same command again" in text
    assert "Traceback" not in text
    # Ray's agents try to report a lost raylet before they end: minutes on a loaded machine.
    deadline = time.monotonic() + 300
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


LEAVING = """
import os, signal, threading, time
from pipelines.execution.ray_session import RayLostError, children, ray_has_ended, ray_lost, ray_session
try:
    with ray_session(100) as ray:
        assert not ray_has_ended()
        raylet = next(pid for pid, name in children(os.getpid()) if name == "raylet")
        os.kill(raylet, signal.SIGSTOP)
        while any(node["Alive"] for node in ray.nodes()):
            time.sleep(0.05)
        assert not ray_lost()
        threading.Timer(1, os.kill, (raylet, signal.SIGKILL)).start()
        assert ray_has_ended()
        threading.Event().wait()  # until the main thread is interrupted
except RayLostError as problem:
    print(problem)
"""


def test_a_call_that_fails_while_the_raylet_still_ends_is_the_end_of_ray() -> None:
    """Its node is out of the cluster, actors are dead, but its process lives: a failure of no title."""
    checks = {
        "initial_delay_ms": "100",
        "period_ms": "100",
        "timeout_ms": "3000",
        "failure_threshold": "3",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {f"RAY_health_check_{name}": value for name, value in checks.items()}
    ended = subprocess.run(
        [sys.executable, "-c", LEAVING],
        check=False,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Ray has ended by itself (its raylet" in ended.stdout
