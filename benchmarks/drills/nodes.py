"""Clusters of several nodes on this machine: simulated ones, and one that grows and shrinks by Ray's own
autoscaler.

Nodes are raylets with logical resources; a "GPU" is a number that Ray counts. The recipe for the autoscaler
is Ray's fake multi-node provider with a configuration of our own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.drills import processes
from benchmarks.drills.driver import patiently

STORE = 100 << 20
HEAD = "f" * 51 + "00000"


@contextmanager
def cluster(nodes: list[dict[str, float]]) -> Iterator[Any]:
    """A cluster of several raylets on this machine whose head does no work; ended with all its processes."""
    from ray.cluster_utils import Cluster

    # The workers take their environment from their node, not from the driver.
    ours = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(processes.ROOT),
        "OMP_NUM_THREADS": "1",
    }
    kept = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("RAY_") or name in ours
    }
    os.environ.update(ours)
    head = {"num_cpus": 0, "num_gpus": 0, "object_store_memory": STORE}
    made = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        for node in nodes:
            patiently(lambda node=node: made.add_node(object_store_memory=STORE, **node))
        yield made
    finally:
        made.shutdown()
        for name in ours:
            os.environ.pop(name)
        os.environ.update(kept)


def raylet(node: Any) -> int:
    """Process id of a node's raylet."""
    (started,) = node.all_processes["raylet"]
    return int(started.process.pid)


def raylets(root: int) -> dict[int, dict[str, float]]:
    """Raylets below a process by id, with the resources that each was started with."""
    found = {}
    for pid in processes.descendants(root):
        command = processes.command_of(pid)
        if "/raylet/raylet " in f"{command} " and (
            listed := re.search(r"--static_resource_list=(\S+)", command)
        ):
            words = listed[1].split(",")
            found[pid] = {
                name: float(value) for name, value in zip(words[::2], words[1::2]) if name in ("CPU", "GPU")
            }
    return found


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def autoscaling(kinds: dict[str, dict[str, Any]], idle_minutes: float) -> Iterator[tuple[str, int]]:
    """A head that does no work and adds nodes of these kinds by itself.

    Args:
        kinds: ``{name: {"resources": {...}, "min_workers": n, "max_workers": n}}``.
        idle_minutes: after which a node without work goes.

    Yields:
        The cluster's address, and the id of the process that all its processes are below.
    """
    folder = Path(tempfile.mkdtemp(prefix="ra"))  # short: the paths of Ray's sockets are limited
    port, client, agent = free_ports(3)
    address = f"{socket.gethostbyname(socket.gethostname())}:{port}"
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        **dict.fromkeys(
            ("use_node_id_as_ip", "disable_node_updaters", "disable_launch_config_check", "launch_multiple"),
            True,
        ),
        "gcs_address": address,
        "head_node_id": HEAD,
    }
    types: dict[str, Any] = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    }
    for name, kind in kinds.items():
        types[name] = {
            **kind,
            "resources": {**kind["resources"], "object_store_memory": STORE},
            "node_config": {},
        }
    empty = (
        "initialization_commands",
        "setup_commands",
        "head_setup_commands",
        "worker_setup_commands",
        "head_start_ray_commands",
    )
    lists = (*empty, "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter")
    config = {
        **{
            "cluster_name": "fake",
            "max_workers": 8,
            "provider": provider,
            "available_node_types": types,
            "upscaling_speed": 1.0,
        },
        **{
            "head_node_type": "ray.head.default",
            "auth": {},
            "docker": {},
            "file_mounts": {},
            "idle_timeout_minutes": idle_minutes,
        },
        **{name: [] for name in lists},
        "file_mounts_sync_continuously": False,
    }
    (folder / "cluster.json").write_text(json.dumps(config))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    switches = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
    ours = {"RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD}
    known = {"PATH": path, "PYTHONPATH": str(processes.ROOT), "OMP_NUM_THREADS": "1"}
    environment = {
        **kept,
        **known,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        **switches,
        **ours,
    }
    command = [
        *(
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            f"--autoscaling-config={folder}/cluster.json",
        ),
        *(
            f"--port={port}",
            f"--temp-dir={folder}",
            "--num-cpus=0",
            "--num-gpus=0",
            f"--object-store-memory={STORE}",
        ),
        *(
            "--include-dashboard=false",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
        ),
        "--disable-usage-stats",
    ]
    log = folder / "start.log"
    with log.open("w") as out:
        head = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not raylets(head.pid):
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address, head.pid
    finally:
        below = processes.descendants(head.pid)
        head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(5)
        for pid in [head.pid, *below]:
            processes.kill(pid)
        head.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
