"""Placement of stages, and growth and shrinking of pools and nodes: on clusters of several nodes on this machine,
with logical GPUs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.drills import nodes, processes
from benchmarks.drills.catalogue import Setting, configure, footage, setting
from benchmarks.drills.check import check

#: Pools of the shipped kind (`configs/profiles/autoscaling.yaml`), as small as they can be: fractional GPUs
#: for what analyses, CPUs for what writes.
PROFILE: dict[str, Any] = {
    "plan": {"name": "plan", "min": 1, "max": 2, "num_cpus": 0.5},
    "assemble": {"num_cpus": 0.5, "at_once": 1},
    "pools": [
        {
            "name": "analyse",
            "stages": ["analyse"],
            "min": 1,
            "max": 4,
            "num_cpus": 0.2,
            "num_gpus": 0.5,
            "device": "cuda",
        },
        {"name": "write", "stages": ["trouble", "write"], "min": 1, "max": 4, "num_cpus": 1.5},
    ],
    "nodes": [
        {"name": "cpu", "cpus": 2, "min": 0, "max": 2},
        {"name": "gpu", "cpus": 1, "gpus": 1, "min": 0, "max": 2},
    ],
    "block_frames": 8,
}


def catalogue(folder: Path, titles: int) -> Setting:
    inputs = folder / "inputs"
    inputs.mkdir()
    return setting(folder / "grow", footage(inputs), titles)


def workers_of(at: Setting, stage: str) -> set[int]:
    """Processes that have run a stage."""
    return {line["pid"] for line in at.written() if line["stage"] == stage}


def together(at: Setting, stage: str) -> int:
    """The most processes that have a stage at work at the same time, each from its first to its last segment:
    a pool that shrinks and grows again has more processes in all.
    """
    spans: dict[int, list[float]] = {}
    for line in at.written():
        if line["stage"] == stage:
            spans.setdefault(line["pid"], []).append(line["time"])
    return max(
        sum(min(other) <= min(span) <= max(other) for other in spans.values()) for span in spans.values()
    )


def test_stages_land_on_the_nodes_that_have_what_they_need(tmp_path: Path) -> None:
    """A head without CPUs, a CPU node, a GPU node: nothing runs on the head; two halves of a GPU share it,
    and both pools grow.
    """
    at = catalogue(tmp_path, 8)
    with nodes.cluster([{"num_cpus": 5}, {"num_cpus": 1, "num_gpus": 1}]) as made:
        head, has = (
            nodes.raylet(made.head_node),
            nodes.raylets(os.getpid()),
        )  # other tests of this process have raylets too
        workers = [nodes.raylet(node) for node in made.worker_nodes]
        (gpu,) = (pid for pid in workers if has[pid].get("GPU"))
        (cpu,) = (pid for pid in workers if not has[pid].get("GPU"))
        files = configure(at, 0.4, profile={**PROFILE, "nodes": []}, analyse={"crowd": 2}, write={"crowd": 2})
        running = processes.start(at, files, {"RAY_ADDRESS": made.address})
        assert running.wait(400) == 0, processes.said(at)
    check(at, None, {})
    where = {
        stage: {line["node"] for line in at.written() if line["stage"] == stage}
        for stage in ("analyse", "write")
    }
    assert where == {"analyse": {gpu}, "write": {cpu}}
    assert head not in where["analyse"] | where["write"]
    assert together(at, "analyse") == 2, (
        "0.5 of the one GPU each: it holds two and no more, though the pool may have four"
    )
    assert 1 < together(at, "write") <= 3


@pytest.mark.slow
def test_nodes_and_pools_go_up_under_load_and_down_after(tmp_path: Path) -> None:
    """Ray's autoscaler starts from a head alone: nodes of both kinds come for the pools' smallest size, more
    for the backlog; all go.
    """
    at = catalogue(tmp_path, 24)
    kinds = {
        "cpu": {"resources": {"CPU": 2}, "min_workers": 0, "max_workers": 2},
        "gpu": {"resources": {"CPU": 1, "GPU": 1}, "min_workers": 0, "max_workers": 2},
    }
    seen: list[dict[str, int]] = []

    def look(root: int) -> dict[str, int]:
        found = nodes.raylets(root)
        there = set(processes.descendants(root))
        counts = {"gpu": sum(has.get("GPU", 0) > 0 for has in found.values())}
        counts["cpu"] = sum(has.get("CPU", 0) > 0 and not has.get("GPU") for has in found.values())
        return counts | {stage: len(workers_of(at, stage) & there) for stage in ("analyse", "write")}

    with nodes.autoscaling(kinds, idle_minutes=0.15) as (address, root):
        (head,) = nodes.raylets(root)
        seen.append(look(root))
        running = processes.start(at, configure(at, 1.0, profile=PROFILE), {"RAY_ADDRESS": address})
        kind_of: dict[int, str] = {}
        deadline = time.monotonic() + 500
        while running.poll() is None and time.monotonic() < deadline:
            kind_of |= {
                pid: "gpu" if has.get("GPU") else "cpu"
                for pid, has in nodes.raylets(root).items()
                if pid != head
            }
            seen.append(look(root))
            time.sleep(0.5)
        assert running.poll() == 0, processes.said(at)
        while (now := look(root)) and now["cpu"] + now["gpu"] > 0 and time.monotonic() < deadline:
            seen.append(now)
            time.sleep(0.5)
        seen.append(look(root))
    check(at, None, {})
    most = {name: max(counts[name] for counts in seen) for name in seen[0]}
    assert seen[0] == dict.fromkeys(most, 0), "nothing but the head at first"
    assert most["cpu"] == 2, f"a second CPU node came for the backlog: {most}"
    assert 1 <= most["gpu"] <= 2, most
    assert most["write"] > 1, f"the pool grew from one worker: {most}"
    assert (seen[-1]["cpu"], seen[-1]["gpu"]) == (0, 0), f"idle nodes have gone: {seen[-1]}"
    ran = {(line["stage"], kind_of.get(line["node"], "head")) for line in at.written()}
    assert ran == {("analyse", "gpu"), ("write", "cpu")}
    # The analysing pool has ended and given its workers back while the other was still writing.
    assert any(counts["analyse"] == 0 < counts["write"] for counts in seen[len(seen) // 4 :]), "pools shrink"
