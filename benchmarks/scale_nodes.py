"""The driver's cost as a cluster grows: part ``nodes`` of `benchmarks.scale`.

A cluster is simulated on this machine: raylets that announce the CPUs of several nodes each, one worker of the last
pool for every node. Workers are processes and do what they do on a cluster; what they share is the machine's cores, so
that seconds of the run say nothing. CPU time of the driver, of Ray's GCS and of the raylets does.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks.drills.nodes import cluster, raylet
from benchmarks.drills.processes import command_of, parents
from benchmarks.scale_memory import MIB, Sampler, cpu_seconds, private_memory
from benchmarks.scale_rows import Catalogue
from pipelines.engine.config import ProfileConfig
from pipelines.engine.profile_parts import PoolConfig


def profile_of(nodes: int) -> ProfileConfig:
    """A worker of the last pool for each node, one of the first for four, a planner for eight; two share a CPU."""
    half = {"num_cpus": 0.5, "in_flight": 2}
    return ProfileConfig(
        name="nodes",
        segment_frames=250,
        plan=PoolConfig(name="plan", size=max(1, nodes // 8), **half),
        pools=[
            PoolConfig(name="first", stages=["look"], size=max(1, nodes // 4), **half),
            PoolConfig(name="rest", size=nodes, **half),
        ],
        watchdog_seconds=300,
    )


def shares(nodes: int, raylets: int) -> list[int]:
    """CPUs that each raylet announces: one for each of its nodes, and one more for the actors beside them."""
    each = [nodes // raylets + (number < nodes % raylets) for number in range(raylets)]
    return [count + 1 for count in each if count]


def nodes(folder: Path, options: argparse.Namespace) -> None:
    """The same catalogue on one node and on many."""
    catalogue = Catalogue.made(folder)
    columns = [
        *(
            "nodes",
            "raylets",
            "workers, by raylet",
            "first output s",
            "whole run s",
            "driver CPU ms a segment",
        ),
        *(
            "after the first output",
            "Ray's scheduler ms",
            "GCS CPU ms",
            "raylets CPU ms",
            "GCS MiB",
            "driver MiB",
            "load",
        ),
    ]
    print(f"nodes: {options.catalogue} titles of one second | {' | '.join(columns)}")
    for count in [int(text) for text in options.nodes.split(",")]:
        with cluster([{"num_cpus": cpus} for cpus in shares(count, options.raylets)]) as made:
            print(f"nodes: {one_cluster(catalogue, made, count, options.catalogue)}", flush=True)


def one_cluster(catalogue: Catalogue, made: Any, nodes: int, titles: int) -> str:
    """Dub a catalogue on a cluster, and return the row of figures."""
    import ray

    (gcs,) = (one.process.pid for one in made.head_node.all_processes["gcs_server"])
    daemons = [raylet(node) for node in made.list_all_nodes()]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    try:
        before = cpu_seconds(gcs), sum(map(cpu_seconds, daemons))
        with Census(daemons) as census:
            one = catalogue.run(titles, profile_of(nodes), f"{nodes}-nodes")
        spent = cpu_seconds(gcs) - before[0], sum(map(cpu_seconds, daemons)) - before[1]
        figures = [
            f"{nodes} | {len(daemons) - 1} | {sum(census.most)}, {' '.join(map(str, census.most[1:]))} | {one.first:.1f} | {one.whole:.1f}",
            *(
                f"{1000 * seconds / titles:.2f}"
                for seconds in (one.driver, one.steady, one.steps.seconds, *spent)
            ),
            f"{private_memory(gcs) / MIB:.0f} | {private_memory(os.getpid()) / MIB:.0f} | {os.getloadavg()[0]:.1f}",
        ]
        return " | ".join(figures)
    finally:
        ray.shutdown()


class Census(Sampler):
    """Context manager: how many actors of Ray Data's pools each raylet has, when they are most."""

    def __init__(self, raylets: list[int]) -> None:
        super().__init__(10.0)  # seldom: this thread's time is the driver's
        self.most = [0] * len(raylets)
        self._raylets = raylets

    def look(self) -> None:
        above = parents()
        homes = [above[pid] for pid in above if "MapWorker" in command_of(pid)]
        now = [homes.count(raylet) for raylet in self._raylets]
        self.most = max(self.most, now, key=sum)
