"""A real Ray head of its own: own ports, own temporary folder, ended by the ids of its own processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.drills.processes import descendants

BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def environment() -> dict[str, str]:
    """This process's environment without another Ray's settings, with this Python's scripts first on the
    path.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass
class Head:
    """A Ray head.

    Attributes:
        dashboard: URL of its dashboard.
        address: what RAY_ADDRESS names.
        folder: its temporary folder.
    """

    dashboard: str
    address: str
    folder: Path


@pytest.fixture(scope="session")
def ray_head(head: Head) -> str:
    """The URL of the head's dashboard."""
    return head.dashboard


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray head with four (logical) CPUs."""
    folder = tempfile.mkdtemp(prefix="rt")  # short: the paths of Ray's sockets are limited
    port, dashboard, client, agent, metrics = free_ports(5)
    command = [
        *(
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            f"--temp-dir={folder}",
            f"--port={port}",
        ),
        *(
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}",
        ),
        *(
            "--node-ip-address=127.0.0.1",
            "--num-cpus=4",
            "--num-gpus=0",
            "--object-store-memory=300000000",
            "--disable-usage-stats",
        ),
    ]
    log = Path(folder) / "start.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            env={**environment(), "RAY_metrics_report_interval_ms": "1000"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{address}/api/version", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield Head(address, f"127.0.0.1:{port}", Path(folder))
    finally:
        ours = [process.pid, *descendants(process.pid)]
        process.terminate()  # ends its services in order; what is left is ended by its id
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
