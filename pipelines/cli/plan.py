"""`retalk plan`: probe every title, and print the work, the problems and the cost of a run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.storage.files import exists, join
from operators.storage.redact import redact
from pipelines.capacity.forecast import FORECAST, Work, describe, find_rates, forecast, to_json
from pipelines.engine.config import EngineConfig, PoolConfig, ProfileConfig, load_profile, with_limits
from pipelines.engine.engine import Engine
from pipelines.engine.resolve import resolve_engine
from pipelines.engine.rows import PLAN_ROW, Row
from pipelines.engine.specs import PlanSpec
from pipelines.errors import DONE, FAILED, PreflightError, UsageError
from pipelines.execution.ray_session import machine_cpus, ray_session
from pipelines.manifest.confinement import restrict_paths
from pipelines.manifest.reader import titles_of
from pipelines.manifest.titles import UNNAMED, Title, label, overrides_of
from pipelines.monitoring.formatting import count, duration
from pipelines.monitoring.grouping import grouped
from pipelines.monitoring.run_log import read_logs
from pipelines.monitoring.terminal import table
from pipelines.planning.planner import Planner
from pipelines.preflight.checks import with_missing_files
from pipelines.state.content_keys import provenance_of
from pipelines.state.coordinator import Coordinator
from pipelines.state.outputs import foreign_outputs
from pipelines.state.run_directory import RunDirectory, read_json, write_text

#: From so many titles on, planning them in parallel is worth starting Ray.
PARALLEL_TITLES = 8
#: Characters of a title's id in the table.
WIDEST = 40
#: Existing outputs that a note names.
NAMED = 5
#: Forecasts of a profile and an engine that are kept, the newest first.
FORECASTS_KEPT = 20

#: Names of titles, each with a text about it.
Named = list[tuple[str, str]]


@dataclass(frozen=True)
class Plan:
    """Work and problems of a run, found by planning it.

    Attributes:
        titles: one per title and dub: ``title``, ``dub``, ``state`` ("run", "done" or "failed"), ``error``,
            ``notes``, ``frames``, ``video_seconds``, ``segments``, ``segments_to_do``, ``width``, ``height``,
            ``shots``, ``faceless_shots``.
        problems: why titles cannot be dubbed, one line for each.
        notes: what else should be known.
        forecasts: one per profile: time, CPU- and GPU-hours, money, as ``retalk plan --json`` prints them.
        work: titles, dubs, segments and frames that are left to do.
        made: seconds since the epoch.
        lines: all of it as text for people.
    """

    titles: list[dict[str, Any]]
    problems: list[str]
    notes: list[str]
    forecasts: list[dict[str, Any]]
    work: dict[str, Any]
    made: float
    lines: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return all but the lines as plain data."""
        return {name: value for name, value in vars(self).items() if name != "lines"}


def show_plan(
    manifest: str,
    directory: str | None,
    engine: str,
    profiles: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Any],
    as_json: bool = False,
    roots: Sequence[str] = (),
    limits: Mapping[str, Any] | None = None,
) -> int:
    """Print what `plan` finds, as one JSON object with `as_json`. Exit code 3 if some title could not be
    dubbed.
    """
    found = plan(
        manifest,
        run_dir=directory,
        engine=engine,
        profiles=profiles,
        options=settings,
        defaults=defaults,
        roots=roots,
        limits=limits,
    )
    print(json.dumps(found.to_json()) if as_json else "\n".join(found.lines))
    return FAILED if found.problems else DONE


def plan(
    manifest: str | Path | Sequence[Mapping[str, Any]],
    *,
    run_dir: str | Path | None = None,
    engine: str | EngineConfig = "auto",
    profiles: Sequence[str | ProfileConfig] = ("laptop",),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
    roots: Sequence[str] = (),
    limits: Mapping[str, Any] | None = None,
) -> Plan:
    """Probe every title, look for shots and faces, and forecast time and cost. Nothing is dubbed.

    Args:
        manifest: URL of a manifest, or its rows, as for `run`.
        run_dir: run directory of the run that is thought of, or None. The forecast is kept there, and where a
            run was begun, what is found out about its titles.
        engine: name, path of a .yaml file, or configuration.
        profiles: the same; the first one's segments are planned, each gets a forecast.
        options, defaults, roots, limits: as for `run`.

    Raises:
        ConfigError, ManifestError: wrong usage.

    Returns:
        The plan; its ``problems`` say why titles cannot be dubbed.

    Examples:
        >>> found = retalk.plan("catalogue.jsonl", run_dir="out")  # doctest: +SKIP
        >>> print(*found.lines, sep="\\n")  # doctest: +SKIP
    """
    built = resolve_engine(engine, options)
    chosen = [
        with_limits(load_profile(one) if isinstance(one, str) else one, limits or {}) for one in profiles
    ]
    work, marks = Work(), []
    with tempfile.TemporaryDirectory(prefix="retalk-plan-") as scratch:
        # As the run will have it: its absolute path is part of what decides whether a title is done.
        run = RunDirectory(str(run_dir)).url if run_dir else scratch
        with _names_without(scratch):
            listed = titles_of(manifest, built, run, defaults)
        titles = with_missing_files(restrict_paths(listed, roots, run))
        # In the directory of a run shots and faces that are found are kept for it.
        where = run if exists(join(run, "run.json")) else scratch
        spec = PlanSpec(
            built.config,
            where,
            chosen[0].segment_frames,
            limits=chosen[0].limits.media(),
            provenance=provenance_of(built, chosen[0], overrides_of(titles)),
        )
        for row in _planned(titles, spec, chosen[0].store_mib):
            work.take(row)
            if row["kind"] == PLAN_ROW:
                # Relative outputs lie in no folder yet: they are named as the manifest names them.
                marks.append(json.loads(row["meta"].replace(f"{scratch}/", "")))
        forecasts = forecasts_of(built, chosen, work, run)
    order = {title.id: number for number, title in enumerate(titles)}
    marks.sort(key=lambda mark: order[mark["title"]["id"]])
    content = to_json(work, forecasts, time.time())
    if run_dir and work.dubs:
        write_text(
            join(run, FORECAST), json.dumps({"forecasts": _with_earlier(join(run, FORECAST), content)})
        )
    lines, failing, noted = plan_table(marks)
    existing = _existing(RunDirectory(run), titles)
    lines += [f"problem: {text}" for text in grouped(failing, "--json lists all")]
    lines += [f"note: {text}" for text in [*grouped(noted, "--json lists all"), *existing]]
    problems, notes = ([f"{name}: {text}" for name, text in found] for found in (failing, noted))
    notes += existing
    if work.dubs:  # where nothing would be done, nothing is to be forecast
        lines += [line for one in forecasts for line in describe(one)]
    dubs = [{**dub, "title": mark["title"]["id"]} for mark in marks for dub in _dubs_json(mark)]
    return Plan(titles=dubs, problems=problems, notes=notes, lines=lines, **content)


@contextmanager
def _names_without(folder: str) -> Iterator[None]:
    """Take a private folder out of the message of an error."""
    try:
        yield
    except UsageError as problem:
        raise type(problem)(str(problem).replace(f"{folder}/", "")) from problem


def _existing(run: RunDirectory, titles: Sequence[Title]) -> list[str]:
    """Return the notes on outputs that exist already."""
    try:
        found = list(foreign_outputs(run, titles))
    except PreflightError as problem:
        return [str(problem)]
    if not found:
        return []
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return [
        f"a run needs --overwrite, for outputs exist that it has not made: {', '.join(map(redact, found[:NAMED]))}{more}"
    ]


def _with_earlier(url: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The new forecasts, each with its work and time, and earlier ones: a report compares a run with the one
    that was made before it.
    """
    new = [{**one, "made": content["made"], "work": content["work"]} for one in content["forecasts"]]
    known = read_json(url)
    earlier = known.get("forecasts", []) if isinstance(known, dict) else []
    kept: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for one in [*new, *(one for one in earlier if isinstance(one, dict))]:
        kept.setdefault((one.get("profile"), one.get("engine")), []).append(one)
    return [one for forecasts in kept.values() for one in forecasts[:FORECASTS_KEPT]]


def forecasts_of(
    engine: Engine, profiles: Sequence[ProfileConfig], work: Work, where: str
) -> list[dict[str, Any]]:
    """A forecast for each profile, with rates from the profile or from earlier runs in the run directory."""
    logs, records = read_logs(where), RunDirectory(where).records()
    found = []
    for profile in profiles:
        rates, source = find_rates(profile, engine.name, logs, records)
        found.append(forecast(engine, profile, work, rates, source, machine_cpus()))
    return found


def _planned(titles: list[Title], spec: PlanSpec, store_mib: int | None) -> Iterator[Row]:
    """The planner's rows for all titles, by Ray where there are many."""
    if len(titles) < PARALLEL_TITLES:
        planner = Planner(spec, Coordinator())
        for title in titles:
            yield from planner.plan(title)
        return
    from pipelines.execution.coordinator_client import start_coordinator
    from pipelines.execution.ray_graph import stream

    profile = load_profile("laptop").model_copy(
        update={"plan": PoolConfig(name="plan", per_cpu=1, num_cpus=1, in_flight=1)}
    )
    with ray_session(store_mib) as ray:
        name, coordinator = start_coordinator()
        for rows in stream(titles, spec, [], profile, name):
            yield from rows
        ray.kill(coordinator)


def _dubs_json(mark: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for plan in mark["dubs"]:
        todo = [output_segment for output_segment in plan["output_segments"] if not output_segment["receipt"]]
        yield {
            **{
                "dub": plan["dub"]["dub"],
                "state": plan["state"],
                "error": redact(plan["error"]),
                "notes": plan["notes"],
            },
            **{"frames": plan["frames"], "video_seconds": plan["video_seconds"]},
            **{"segments": len(plan["output_segments"]), "segments_to_do": len(todo)},
            **{name: mark.get(name) for name in ("width", "height", "shots", "faceless_shots")},
        }


def plan_table(marks: Sequence[Mapping[str, Any]]) -> tuple[list[str], Named, Named]:
    """Return the plan as text: lines with a table of dubs and the sums; and the problems in full and the
    notes, each with the name of its title.
    """
    rows = [["title", "dub", "size", "frames", "length", "shots", "segments", "state"]]
    problems: Named = []
    notes: Named = []
    for mark in marks:
        for plan in mark["dubs"]:
            todo = [
                output_segment for output_segment in plan["output_segments"] if not output_segment["receipt"]
            ]
            state = {"run": f"{len(todo)} to do", "done": "done already", "failed": "FAILS"}[plan["state"]]
            size = f"{mark['width']}x{mark['height']}" if "width" in mark else "?"
            length = (
                duration(plan["video_seconds"] or mark.get("video_seconds", 0)) if "frames" in mark else "?"
            )
            numbers = [
                str(plan["frames"] or mark.get("frames", "?")),
                length,
                str(mark.get("shots", "?")),
                str(len(plan["output_segments"]) or "?"),
            ]
            name = plan["dub"]["dub"]
            named = label(mark["title"]["id"], name)
            rows.append(
                [shortened(mark["title"]["id"]), "" if name == UNNAMED else name, size, *numbers, state]
            )
            if plan["state"] == "failed":
                problems.append((named, redact(plan["error"])))
            notes += [(named, note) for note in plan["notes"]]
        if mark.get("faceless_shots"):
            untouched = f"in {mark['faceless_shots']} of {mark['shots']} shots the person is not seen; they pass untouched"
            notes.append((mark["title"]["id"], untouched))
    plans = [plan for mark in marks for plan in mark["dubs"]]
    todo = [
        output_segment
        for plan in plans
        if plan["state"] == "run"
        for output_segment in plan["output_segments"]
        if not output_segment["receipt"]
    ]
    video = duration(sum(plan["video_seconds"] for plan in plans if plan["state"] == "run"))
    counts = f"{count(len(marks), 'title')}, {count(len(plans), 'dub')}: {count(len(todo), 'segment')} to do"
    sums = f"{counts}, {video} of video, {count(len(problems), 'problem')}"
    if not any(row[1] for row in rows[1:]):  # no dub has a name
        rows = [[row[0], *row[2:]] for row in rows]
    return [*table(rows), "", sums], problems, notes


def shortened(name: str) -> str:
    """A title's id for a column of a table: beginning and end of one that is long."""
    return name if len(name) <= WIDEST else f"{name[: WIDEST - 16]}…{name[-15:]}"
