"""Preflight on a cluster: what it is now, what it can become, and whether its nodes have what the workers
will need.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from operators.faces.mesh_backend import FILES as FACE_MESH
from operators.storage.files import exists, join
from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.rows import row_bytes
from pipelines.errors import PreflightError
from pipelines.preflight.checks import MIB, longest_row
from pipelines.state.content_keys import source_hash, version
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import home_registry

#: File that Ray's launcher leaves with its configuration on the head node.
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
#: Seconds that a node has to answer.
PATIENCE = 180.0
#: Their source code must be the driver's on every node.
PACKAGES = ("retalk_models", "operators", "pipelines")


@dataclass(frozen=True)
class NodeSize:
    """Resources of one node: CPUs, GPUs, bytes of object store (0: not known)."""

    cpus: float
    gpus: float
    store: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """Resources now, what they can become (None: they stay), whose word that is, and the nodes that there are
    or can be.
    """

    now: Mapping[str, float]
    grown: Mapping[str, float] | None
    source: str
    nodes: Sequence[NodeSize]

    @property
    def waits(self) -> bool:
        """Return whether nodes must be added before all pools have their smallest size."""
        return self.grown is not None


def read_cluster(ray: Any, profile: ProfileConfig, joined: bool, bootstrap: Path = BOOTSTRAP) -> Cluster:
    """Look at the connected Ray.

    Args:
        ray: the connected module.
        profile: whose `nodes` are taken at their word on a cluster that was joined and that says nothing
            itself.
        joined: False: the Ray was started here, and stays as it is.
        bootstrap: the launcher's configuration.
    """
    now: dict[str, float] = dict(ray.cluster_resources())
    nodes = [
        NodeSize(*(float(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU", "object_store_memory")))
        for node in ray.nodes()
        if node["Alive"]
    ]
    kinds, source = (_launched(bootstrap) or _declared(profile)) if joined else ([], "")
    if not any(most > least for _, least, most in kinds):
        return Cluster(now, None, "", nodes)
    grown = {
        kind: sum(most * getattr(size, field) for size, _, most in kinds)
        for kind, field in (("CPU", "cpus"), ("GPU", "gpus"))
    }
    grown = {kind: max(value, now.get(kind, 0.0)) for kind, value in grown.items()}
    return Cluster(now, grown, source, [*nodes, *(size for size, _, _ in kinds)])


def _launched(bootstrap: Path) -> tuple[list[tuple[NodeSize, int, int]], str] | None:
    """Node types of Ray's cluster launcher, with their least and most number; None where this node was not
    launched by it.
    """
    path = bootstrap.expanduser()
    if not path.is_file():
        return None
    config = yaml.safe_load(path.read_text())
    found = []
    for name, kind in config.get("available_node_types", {}).items():
        if name != config.get("head_node_type"):
            has = kind.get("resources", {})
            size = NodeSize(
                float(has.get("CPU", 0)), float(has.get("GPU", 0)), float(has.get("object_store_memory", 0))
            )
            found.append((size, int(kind.get("min_workers", 0)), int(kind.get("max_workers", 0))))
    return found, str(bootstrap)


def _declared(profile: ProfileConfig) -> tuple[list[tuple[NodeSize, int, int]], str]:
    return [
        (NodeSize(group.cpus, group.gpus), group.min, group.max) for group in profile.nodes
    ], f"nodes of profile {profile.name}"


def check_actors_fit(profile: ProfileConfig, pools: Sequence[PoolConfig], cluster: Cluster) -> None:
    """Refuse an actor that fits onto no single node, even if the cluster as a whole has enough.

    Raises:
        PreflightError: naming the pool and the largest node.
    """
    for pool in (profile.plan, *pools):
        if not any(node.cpus >= pool.num_cpus and node.gpus >= pool.num_gpus for node in cluster.nodes):
            sizes = ", ".join(
                sorted({f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in cluster.nodes})
            )
            raise PreflightError(
                f"profile {profile.name}: an actor of pool {pool.name} books {pool.num_cpus:g} CPUs and {pool.num_gpus:g} GPUs, and no "
                f"node has that (nodes have {sizes or 'nothing'}): lower num_cpus or num_gpus of {pool.name}"
            )


def check_row_fits(
    profile: ProfileConfig,
    engine: Engine,
    groups: Sequence[tuple[PoolConfig, Sequence[str]]],
    cluster: Cluster,
) -> None:
    """A row going in and a row coming out must fit into the store of one node.

    Raises:
        PreflightError: naming the pool, the row's size and the store.
    """
    store = max((node.store for node in cluster.nodes), default=0.0)
    if not store:
        return
    frames, core = longest_row(profile, engine)
    for pool, stages in groups:
        first = engine.names.index(stages[0])
        size = row_bytes(engine.edges[first], frames, core) * engine.segments_together(stages, pool.device)
        size += row_bytes(engine.edges[first + len(stages)], frames, core)
        if size > store:
            raise PreflightError(
                f"profile {profile.name}: pool {pool.name} takes and gives rows of {size / MIB:.1f} MiB, the largest node's object store "
                f"has {store / MIB:.0f} MiB: lower segment_frames ({profile.segment_frames}), or raise store_mib ({profile.store_mib})"
            )


def inspect_node(wanted: Mapping[str, Sequence[str]], run: str) -> dict[str, Any]:
    """Run on a node: what it has of what workers will need.

    Args:
        wanted: model files by the home they lie in.
        run: run directory, in which this run has written run.json.
    """
    shared = Path("/dev/shm")
    return {
        "version": version(),
        "code": {package: source_hash(package) for package in PACKAGES},
        "python": ".".join(map(str, sys.version_info[:2])),
        "missing": [name for home, names in wanted.items() for name in _missing(names, home)],
        "sees": exists(join(run, "run.json")),
        "shm": os.statvfs(shared).f_blocks * os.statvfs(shared).f_frsize if shared.is_dir() else None,
    }


def _missing(names: Sequence[str], home: str) -> Sequence[str]:
    try:
        return home_registry(home).missing(names)
    except WeightsError as problem:  # a file that was given by its path is not on this node
        return problem.files


def check_nodes(ray: Any, wanted: Mapping[str, Sequence[str]], run: str) -> None:
    """Ask every node that will work: the same version and code, the model files, the run directory, shared memory for
    its store.

    A Ray of this machine alone is not asked: there all of it has been looked at.

    Raises:
        PreflightError: one line for each node that lacks something, with what to do.
    """
    nodes = [
        node
        for node in ray.nodes()
        if node["Alive"] and (node["Resources"].get("CPU") or node["Resources"].get("GPU"))
    ]
    if len(nodes) < 2 and all(node["NodeManagerHostname"] == socket.gethostname() for node in nodes):
        return
    if problems := ask_nodes(ray, nodes, wanted, run):
        raise PreflightError("nodes lack what workers need:\n" + "\n".join(problems))


def ask_nodes(
    ray: Any, nodes: Sequence[Mapping[str, Any]], wanted: Mapping[str, Sequence[str]], run: str
) -> list[str]:
    """Return the problems of some nodes of `ray.nodes()`, a line each; they are asked at the same time."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(inspect_node)
    asked = []
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append(task.options(scheduling_strategy=place).remote(dict(wanted), run))
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=PATIENCE)
    problems = []
    for node, answer in zip(nodes, asked):
        name = node["NodeManagerHostname"]
        if answer not in ready:
            problems.append(f"  {name}: has not answered for {PATIENCE:g} s; is it alive?")
            continue
        try:
            problems += [f"  {name}: {text}" for text in judge(ray.get(answer), node["Resources"], run)]
        except ray.exceptions.RayError as problem:
            problems.append(
                f"  {name}: cannot run workers ({str(problem).strip().splitlines()[-1]}): is retalk installed there?"
            )
    return problems


def judge(answer: Mapping[str, Any], resources: Mapping[str, float], run: str) -> list[str]:
    """Return the problem of a node, from the answer of `inspect_node` there and Ray's own record of it."""
    problems = []
    if answer["version"] != version():
        problems.append(f"has version {answer['version']} of retalk, the driver {version()}: use one image")
    elif other := [package for package in PACKAGES if answer["code"][package] != source_hash(package)]:
        problems.append(
            f"its code of {', '.join(other)} is not the driver's: use one image, or install one wheel"
        )
    if answer["missing"]:
        dlib = ", or use dlib: --set detect.backend=dlib" if {*answer["missing"]} <= {*FACE_MESH} else ""
        problems.append(
            f"model files are missing: {', '.join(answer['missing'])}; run there: retalk models pull {' '.join(answer['missing'])}, "
            f"or set RETALK_HOME{dlib}"
        )
    if not answer["sees"]:
        problems.append(
            f"does not see the run directory {run}: use storage that all nodes share (s3://, gs://, a shared file system)"
        )
    store = resources.get("object_store_memory", 0.0)
    if answer["shm"] is not None and store > answer["shm"]:
        problems.append(
            f"its object store of {store / MIB:.0f} MiB does not fit into /dev/shm with {answer['shm'] / MIB:.0f} MiB and would lie on the "
            "disk: give the container more (docker run --shm-size, a memory volume), or lower object-store-memory"
        )
    return problems
