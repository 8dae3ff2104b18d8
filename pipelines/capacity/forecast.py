"""Forecast of a run's cost: the work found by planning times measured rates, on the profile's pools and
nodes.

Rates come from the profile (`retalk profile` writes them) or from earlier runs in the same run directory.
Where neither has a stage, the forecast is unknown and says so; no number is invented.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import NodeGroup, PoolConfig, Rates, StageRate
from pipelines.engine.rows import SEGMENT, Row
from pipelines.monitoring.progress import duration
from pipelines.monitoring.run_log import size_of
from pipelines.planning.plans import TitlePlan, decode
from pipelines.state.run_directory import Record

HOUR = 3600.0
#: Pictures this many times larger or smaller than the measured ones make rates doubtful; a note says so.
SIZE_FACTOR = 2.0


@dataclass
class Load:
    """Frames, and frames times the megapixels of their picture."""

    frames: int = 0
    frame_megapixels: float = 0.0

    def add(self, frames: int, megapixels: float) -> None:
        self.frames += frames
        self.frame_megapixels += frames * megapixels

    def seconds(self, rate: StageRate) -> float:
        """Of one actor for all of it."""
        return rate.seconds * self.frames + rate.per_megapixel * self.frame_megapixels


@dataclass
class Work:
    """Work that is left: frames to plan, to analyse (once per title), to dub (once per dub)."""

    titles: int = 0
    dubs: int = 0
    segments: int = 0
    video_seconds: float = 0.0
    plan: Load = field(default_factory=Load)
    segment: Load = field(default_factory=Load)
    dub: Load = field(default_factory=Load)

    def take(self, row: Row) -> None:
        """Add one of the planner's rows: a title's plan or a segment."""
        megapixels = row["frame_width"] * row["frame_height"] / 1e6
        if row["kind"] == SEGMENT:
            self.segment.add(row["stop"] - row["start"], megapixels)
            return
        plan = decode(TitlePlan, row["meta"])
        if not plan.running:
            return
        megapixels = plan.width * plan.height / 1e6
        self.titles += 1
        self.plan.add(plan.frames, megapixels)
        for dub in plan.running:
            self.dubs += 1
            self.segments += len(dub.left)
            self.video_seconds += dub.video_seconds
            # Each speaker's mouths are computed; only drawing and encoding are done once.
            self.dub.add(dub.frames_left * max(1, len(dub.dub.speakers)), megapixels)


def rates_of_runs(
    logs: Iterable[Mapping[str, Any]], records: Iterable[Record], engine: str
) -> dict[str, StageRate]:
    """Rates of stages from the logs and the records of earlier runs of an engine."""
    seconds: dict[str, float] = {}
    frames: dict[str, int] = {}
    counts = [
        (name, c["frames"], c["seconds"])
        for log in logs
        if log["engine"] == engine
        for name, c in log["stages"].items()
    ]
    for record in records:
        if record["state"] == "done" and record.get("engine") == engine:
            counts.append(
                ("assemble", record["frames"], json.loads(record["stage_seconds"]).get("assemble", 0.0))
            )
    for name, count, spent in counts:
        frames[name], seconds[name] = frames.get(name, 0) + int(count), seconds.get(name, 0.0) + spent
    return {name: StageRate(seconds=seconds[name] / frames[name]) for name in frames if frames[name]}


def find_rates(
    profile: ProfileConfig,
    engine: str,
    logs: Sequence[Mapping[str, Any]] = (),
    records: Sequence[Record] = (),
) -> tuple[dict[str, StageRate], str]:
    """Rates for a forecast and where they come from; ({}, "") where nothing was ever measured."""
    if engine in profile.rates:
        return dict(profile.rates[engine].stages), f"profile {profile.name}: {profile.rates[engine].measured}"
    found = rates_of_runs(logs, records, engine)
    return (found, "earlier runs in the run directory") if found else ({}, "")


def booked_cpus(pool: PoolConfig) -> float:
    """CPUs that an actor at work keeps busy: what it books, but on a CPU at least one, even where a fraction lets
    more of them start.
    """
    return pool.num_cpus if pool.device == "cuda" else max(1.0, pool.num_cpus)


def node_hours(
    groups: Sequence[NodeGroup], cpu_hours: float, gpu_hours: float, wall_hours: float
) -> dict[str, float]:
    """Hours of nodes of each group that this much work needs: GPUs first, then CPUs that the GPU nodes do not
    bring with them.
    """
    hours = {group.name: group.min * wall_hours for group in groups}

    def fill(need: float, size: str, candidates: list[NodeGroup]) -> None:
        need -= sum(hours[group.name] * getattr(group, size) for group in groups)
        for group in sorted(candidates, key=lambda g: (g.price or 0.0) / getattr(g, size)):
            if need <= 0:
                return
            more = min(need / getattr(group, size), group.max * wall_hours - hours[group.name])
            hours[group.name] += more
            need -= more * getattr(group, size)

    fill(gpu_hours, "gpus", [group for group in groups if group.gpus])
    fill(cpu_hours, "cpus", [group for group in groups if group.cpus and not group.gpus])
    fill(cpu_hours, "cpus", [group for group in groups if group.cpus and group.gpus])
    return hours


def cost_of(groups: Sequence[NodeGroup], hours: Mapping[str, float]) -> float | None:
    """Money for node-hours; None where a group that is used has no price."""
    used = [group for group in groups if hours.get(group.name, 0.0) > 0]
    if not used or any(group.price is None for group in used):
        return None
    return sum((group.price or 0.0) * hours[group.name] for group in used)


def hours_of_forms(groups: Sequence[NodeGroup], node_seconds: Mapping[str, float]) -> dict[str, float] | None:
    """Node-hours by group from a log's nodes: a node belongs to the group with its GPUs and the nearest
    number of CPUs. None: to none.
    """
    hours: dict[str, float] = {}
    for form, seconds in node_seconds.items():
        cpus, gpus = size_of(form)
        near = sorted((abs(group.cpus - cpus), group.name) for group in groups if group.gpus == gpus)
        if not near:
            return None
        hours[near[0][1]] = hours.get(near[0][1], 0.0) + seconds / HOUR
    return hours


def forecast(
    engine: Engine, profile: ProfileConfig, work: Work, rates: Mapping[str, StageRate], source: str, cpus: int
) -> dict[str, Any]:
    """Forecast the cost of work with a profile.

    Args:
        engine: whose stages.
        profile: pools, nodes and prices.
        work: the work that is left.
        rates: by stage.
        source: where they come from.
        cpus: of this machine, for a profile without nodes.

    Returns:
        ``stages`` (frames, seconds of one actor, cpu_hours and gpu_hours that each books), their sums ``cpu_hours``
        and ``gpu_hours``, ``wall_seconds`` (with the scarcest resource busy all the time) and ``bound_by``,
        ``node_hours``, ``cost`` and ``currency``. Unknown values are None; ``unknown`` lists the stages
        without a rate, ``notes`` the remedies.
    """
    groups = profile.nodes or [NodeGroup(name="this machine", cpus=cpus)]
    total = {"CPU": sum(g.max * g.cpus for g in groups), "GPU": sum(g.max * g.gpus for g in groups)}
    placed: list[tuple[str, PoolConfig, Load]] = [("plan", profile.plan, work.plan)]
    for pool, stages in profile.place(engine.name, engine.names, engine.like):
        for stage in stages:
            per = engine.stages[engine.names.index(stage)].stage.per
            placed.append((stage, pool, work.segment if per == "segment" else work.dub))
    joined = PoolConfig(name="assemble", size=profile.assemble.at_once, num_cpus=profile.assemble.num_cpus)
    placed.append(("assemble", joined, work.dub))
    unknown = [stage for stage, _, load in placed if load.frames and stage not in rates]
    rows, pools = [], dict[str, tuple[PoolConfig, float]]()
    for stage, pool, load in placed:
        seconds = load.seconds(rates[stage]) if stage in rates else (None if load.frames else 0.0)
        row: dict[str, Any] = {
            "stage": stage,
            "pool": pool.name,
            "frames": load.frames,
            "seconds": seconds,
            "cpu_hours": None,
            "gpu_hours": None,
        }
        if seconds is not None:
            row.update(cpu_hours=seconds * booked_cpus(pool) / HOUR, gpu_hours=seconds * pool.num_gpus / HOUR)
            pools[pool.name] = (pool, pools.get(pool.name, (pool, 0.0))[1] + seconds)
        rows.append(row)
    result: dict[str, Any] = {
        **{
            "profile": profile.name,
            "engine": engine.name,
            "rates": source or None,
            "unknown": unknown,
            "stages": rows,
            "notes": [],
        },
        **dict.fromkeys(("cpu_hours", "gpu_hours", "wall_seconds", "bound_by", "node_hours", "cost")),
        "currency": profile.currency,
    }
    if unknown:
        result["notes"].append(
            f"unknown: run retalk profile (no rate is known of {', '.join(unknown)}), or plan again after a first run"
        )
        return result
    result["cpu_hours"], result["gpu_hours"] = (
        sum(row[kind] for row in rows) for kind in ("cpu_hours", "gpu_hours")
    )
    _wall(result, pools, total)
    _money(result, profile, groups)
    _doubts(result, profile.rates.get(engine.name), work)
    return result


def _wall(
    result: dict[str, Any], pools: Mapping[str, tuple[PoolConfig, float]], total: Mapping[str, float]
) -> None:
    """Set ``wall_seconds`` and ``bound_by``: the scarcest of pools, CPUs and GPUs decides."""
    cpus = int(total["CPU"])
    bounds = [
        (seconds / pool.bounds(cpus)[1], f"pool {name} (at most {pool.bounds(cpus)[1]} actors)")
        for name, (pool, seconds) in pools.items()
    ]
    for kind, hours in (("CPU", result["cpu_hours"]), ("GPU", result["gpu_hours"])):
        if hours and not total[kind]:
            result["notes"].append(
                f"the duration is unknown: the profile's pools need {kind}s, its nodes have none: add a group to nodes"
            )
            return
        if hours:
            bounds.append((hours * HOUR / total[kind], f"{total[kind]:g} {kind}s"))
    result["wall_seconds"], result["bound_by"] = max(bounds)
    if not result["wall_seconds"]:
        result["bound_by"] = "nothing to do"


def _money(result: dict[str, Any], profile: ProfileConfig, groups: Sequence[NodeGroup]) -> None:
    if result["wall_seconds"] is None:
        return
    hours = node_hours(groups, result["cpu_hours"], result["gpu_hours"], result["wall_seconds"] / HOUR)
    result["node_hours"], result["cost"] = hours, cost_of(groups, hours)
    if result["cost"] is None:
        missing = [group.name for group in profile.nodes if group.price is None]
        where = (
            f"price in nodes: {', '.join(missing)}" if missing else "nodes, each with cpus, gpus and price"
        )
        result["notes"].append(f"unknown money: profile {profile.name} lacks {where}")


def _doubts(result: dict[str, Any], rates: Rates | None, work: Work) -> None:
    """Say so where the pictures are not of the size that was measured."""
    if rates is None or not rates.megapixels or not work.dub.frames:
        return
    mean, low, high = (
        work.dub.frame_megapixels / work.dub.frames,
        min(rates.megapixels),
        max(rates.megapixels),
    )
    if not low / SIZE_FACTOR <= mean <= high * SIZE_FACTOR:
        result["notes"].append(
            f"doubtful: pictures have {mean:.2f} megapixels on average, the rates were measured at {low:.2f} to {high:.2f}: "
            "run retalk profile --video with footage like this"
        )


def describe(result: Mapping[str, Any]) -> list[str]:
    """A forecast for people."""
    head = f"forecast for profile {result['profile']}, engine {result['engine']}: "
    if result["cpu_hours"] is None:
        return [head + result["notes"][0]]
    wall = result["wall_seconds"]
    parts = [
        f"{duration(result[f'{kind.lower()}_hours'] * HOUR)} of {kind} time booked" for kind in ("GPU", "CPU")
    ]
    parts.append(
        f"{duration(wall)} at least, bound by {result['bound_by']}"
        if wall is not None
        else "duration unknown"
    )
    parts.append(
        f"{result['cost']:.2f} {result['currency']}" if result["cost"] is not None else "money unknown"
    )
    return [
        head + "; ".join(parts),
        f"  rates: {result['rates']}",
        *(f"  {note}" for note in result["notes"]),
    ]


def to_json(work: Work, forecasts: Sequence[Mapping[str, Any]], made: float) -> dict[str, Any]:
    """Contents of ``forecast.json`` in the run directory, for `retalk report`."""
    return {"made": made, "work": dataclasses.asdict(work), "forecasts": list(forecasts)}


FORECAST = "forecast.json"
