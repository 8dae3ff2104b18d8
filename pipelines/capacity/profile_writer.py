"""From measured stages to a profile: pools, their sizes, and the reasons. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize
import yaml

from pipelines.capacity.gpu_shares import GPU_ROOM, actors_of, share_of
from pipelines.capacity.measure import Measure
from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import StageRate
from pipelines.engine.rows import row_bytes
from pipelines.monitoring.terminal import table

MIB = 1 << 20
#: Share of the machine's memory that actors may fill, and that the object store may have.
RAM_SHARE, STORE_SHARE = 0.6, 0.3
#: CPUs that the planner of a small machine books.
PLANNER = 0.5


@dataclass(frozen=True)
class Machine:
    """A machine's cores, memory and free shared memory (MiB), GPUs and the memory of the smallest of them."""

    cpus: int
    ram_mib: float
    shm_mib: float
    gpus: int = 0
    gpu_mib: float = 0.0


@dataclass
class Pool:
    """A pool to be: its stages, seconds of one actor per output frame, and memory of one actor."""

    name: str
    stages: list[str]
    gpu: bool
    seconds: float = 0.0
    rss_mib: float = 0.0
    gpu_mib: float = 0.0
    count: int = 1
    cpus: float = 1.0
    share: float = 0.0
    why: list[str] = field(default_factory=list)


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Seconds a frame as a constant and a part for each megapixel: least squares, neither below zero.

    Args:
        points: megapixels and seconds.
    """
    sizes, seconds = np.array(points, float).T
    if len(set(sizes)) < 2:
        return float(seconds.mean()), 0.0
    (constant, slope), _ = scipy.optimize.nnls(np.stack([np.ones_like(sizes), sizes], 1), seconds)
    return float(constant), float(slope)


def rate_of(measure: Measure) -> StageRate:
    """A stage's entry in a profile."""
    seconds, slope = fit(measure.points)
    memory = {
        "rss_mib": round(measure.rss_mib),
        "gpu_mib": round(measure.gpu_mib) if measure.gpu_mib else None,
    }
    return StageRate(seconds=_digits(seconds), per_megapixel=_digits(slope), **memory)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def group_stages(engine: Engine, measures: Mapping[str, Measure], megapixels: float) -> list[Pool]:
    """Neighbouring stages that run as often (once per segment, once per dub) on the same kind of device share a
    pool: rows are not copied between them.
    """
    pools: list[Pool] = []
    kind = None
    for spec in engine.stages:
        measure = measures[spec.name]
        now = (spec.stage.per, measure.gpu_mib > 0)
        if now != kind:
            pools.append(Pool("", [], measure.gpu_mib > 0))
        kind = now
        pool = pools[-1]
        seconds, slope = fit(measure.points)
        pool.stages.append(spec.name)
        pool.seconds += seconds + slope * megapixels
        # The stage's own memory comes on top of the libraries that every worker has.
        pool.rss_mib = (pool.rss_mib or measure.base_mib) + max(0.0, measure.rss_mib - measure.base_mib)
        pool.gpu_mib += measure.gpu_mib
    for pool in pools:
        pool.name = pool.stages[0] if len(pool.stages) == 1 else f"{pool.stages[0]}-{pool.stages[-1]}"
    return pools


def share_gpus(pools: Sequence[Pool], machine: Machine) -> None:
    """Fractions by memory, numbers by work. GPU pools only.

    Raises:
        ValueError: an actor does not fit into a GPU, or the pools not onto the GPUs together.
    """
    gpu = [pool for pool in pools if pool.gpu]
    work = sum(pool.seconds for pool in gpu) or 1.0
    for pool in gpu:
        share = share_of(pool.gpu_mib, machine.gpu_mib)
        if share is None:
            raise ValueError(
                f"an actor with {', '.join(pool.stages)} needs {pool.gpu_mib:.0f} MiB, the GPU has {machine.gpu_mib:.0f}"
            )
        pool.share = share
        pool.count = actors_of(machine.gpus, pool.seconds / work, share)
        pool.why.append(
            f"{pool.gpu_mib:.0f} MiB with {GPU_ROOM:g} × room on a GPU of {machine.gpu_mib:.0f}: {pool.share:g}; "
            f"{pool.seconds / work:.0%} of the GPUs' work"
        )
    while sum(pool.count * pool.share for pool in gpu) > machine.gpus + 1e-6:
        largest = max(
            (pool for pool in gpu if pool.count > 1), key=lambda pool: pool.count * pool.share, default=None
        )
        if largest is None:
            raise ValueError(
                f"one actor of each pool needs {sum(p.share for p in gpu):g} GPUs, there are {machine.gpus}"
            )
        largest.count -= 1


def share_cpus(pools: Sequence[Pool], machine: Machine) -> None:
    """CPUs that GPU actors and the planner leave go to the CPU pools by their work, as far as memory allows."""
    cpu = [pool for pool in pools if not pool.gpu]
    feeders = sum(pool.count for pool in pools if pool.gpu)
    left = machine.cpus - PLANNER - feeders
    actors = max(len(cpu), int(left + PLANNER))
    room = machine.ram_mib * RAM_SHARE - sum(pool.rss_mib * pool.count for pool in pools if pool.gpu)
    work = sum(pool.seconds for pool in cpu) or 1.0
    for pool in cpu:
        pool.count = max(1, round(actors * pool.seconds / work))
    while sum(pool.count for pool in cpu) > actors or sum(pool.count * pool.rss_mib for pool in cpu) > room:
        # The one that has the most for its work gives first.
        richest = max(
            (pool for pool in cpu if pool.count > 1),
            key=lambda pool: pool.count / max(pool.seconds, 1e-9),
            default=None,
        )
        if richest is None:
            break
        richest.count -= 1
    total = sum(pool.count for pool in cpu)
    for pool in cpu:
        # All must fit beside the planner: they book a share of the rest, independent of what they really
        # use.
        pool.cpus = max(0.01, min(1.0, int(100 * left / max(1, total)) / 100))
        pool.why.append(f"{pool.seconds / work:.0%} of the CPUs' work; {pool.rss_mib:.0f} MiB each")


def store_size(
    engine: Engine, pools: Sequence[Pool], frames: int, machine: Machine, in_flight: int
) -> tuple[int, float]:
    """MiB of object store for twice the rows that can be under way, and those rows' MiB."""
    rule = engine.config.segments
    core = frames if rule.kind == "frames" else int(rule.max_seconds * 60)
    whole = core + sum(engine.halo({}))
    under_way = 0.0
    for pool in pools:
        edge = engine.edges[engine.names.index(pool.stages[0])]
        size = row_bytes(edge, whole, core) * engine.segments_together(
            pool.stages, "cuda" if pool.gpu else "cpu"
        )
        under_way += pool.count * (in_flight + 1) * size / MIB
    most = min(machine.ram_mib * STORE_SHARE, machine.shm_mib * 0.9)
    return int(max(200, min(most, max(512, 2 * under_way)))), under_way


def make_profile(
    name: str, engine: Engine, measures: Mapping[str, Measure], machine: Machine, measured: str
) -> tuple[str, ProfileConfig]:
    """The text of a profile (YAML with the reasons as comments) and what it says.

    Args:
        name: of the profile.
        engine: whose stages were measured.
        measures: by stage, with "plan" and "assemble".
        machine: what there is.
        measured: when and on what, in a few words.

    Raises:
        ValueError: the stages do not fit onto the machine.
    """
    sizes = sorted({size for measure in measures.values() for size, _ in measure.points})
    pools = group_stages(engine, measures, sizes[-1])
    gpu = any(pool.gpu for pool in pools)
    if gpu:
        share_gpus(pools, machine)
    share_cpus(pools, machine)
    frames, in_flight = (250, 2) if gpu else (50, 1)
    store, under_way = store_size(engine, pools, frames, machine, in_flight)
    entries = [_entry(pool, in_flight) for pool in pools]
    head: dict[str, Any] = {
        "name": name,
        "description": f"written by retalk profile for engine {engine.name}",
        "segment_frames": frames,
    }
    head |= {"store_mib": store, "watchdog_seconds": 1800}
    lines = [
        f"# Measured by `retalk profile`, {measured}. Change what you know better; `retalk plan --profile THIS` uses the rates.",
        "#",
    ]
    lines += [f"# {line}" for line in measure_table(engine, measures)]
    lines += [_yaml(head)]
    lines += [
        f"# store_mib: rows under way fill at most {under_way:.0f} MiB; /dev/shm had {machine.shm_mib:.0f} MiB free"
    ]
    lines += [
        _yaml(
            {
                "plan": {"name": "plan", "size": 1, "num_cpus": PLANNER, "in_flight": 1},
                "assemble": {"num_cpus": 0, "at_once": 1},
            }
        )
    ]
    general = [{**entry, "stages": entry["stages"]} for entry in entries]
    lines += ["pools:"]
    for pool, entry in zip(pools, general):
        lines += [*(f"  # {why}" for why in pool.why), f"  - {_flow(entry)}"]
    node = {"name": "this", "cpus": machine.cpus, "gpus": machine.gpus}
    lines += [
        "# With the price of an hour of this machine (price: 1.20, in `currency`) `retalk plan` says what a catalogue costs."
    ]
    lines += [
        "nodes:",
        f"  - {_flow(node)}",
        "rates:",
        f"  {engine.name}:",
        f"    measured: {_flow(measured)}",
    ]
    lines += [f"    megapixels: {_flow([round(size, 4) for size in sizes])}", "    stages:"]
    for stage in ("plan", *engine.names, "assemble"):
        lines.append(f"      {stage}: {_flow(rate_of(measures[stage]).model_dump(exclude_none=True))}")
    text = "\n".join(line.rstrip("\n") for line in lines) + "\n"
    return text, ProfileConfig.model_validate(yaml.safe_load(text))


def _entry(pool: Pool, in_flight: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": pool.name,
        "stages": pool.stages,
        "size": pool.count,
        "num_cpus": pool.cpus,
    }
    if pool.gpu:
        entry |= {"num_gpus": pool.share, "device": "cuda"}
    return {**entry, "in_flight": in_flight}


def _flow(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
        .strip()
        .removesuffix("\n...")
        .strip()
    )


def _yaml(value: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {_flow(one)}" for key, one in value.items())


def measure_table(engine: Engine, measures: Mapping[str, Measure]) -> list[str]:
    """Return the measures as lines of a table."""
    rows = [
        ["stage", "MP", "s/frame", "frames/s of one actor", "set-up s", "process MiB", "GPU MiB", "row MiB"]
    ]
    for stage in ("plan", *engine.names, "assemble"):
        one = measures[stage]
        for number, (size, seconds) in enumerate(one.points):
            memory = (
                [f"{one.setup_seconds:.1f}", f"{one.rss_mib:.0f}", f"{one.gpu_mib:.0f}", f"{one.row_mib:.2f}"]
                if number == 0
                else [""] * 4
            )
            rows.append(
                [
                    stage if number == 0 else "",
                    f"{size:.3f}",
                    f"{seconds:.5f}",
                    f"{1 / max(seconds, 1e-9):.1f}",
                    *memory,
                ]
            )
    return table(rows)
