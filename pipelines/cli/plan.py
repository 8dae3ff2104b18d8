"""`retalk plan`: probe every title, and print the work, the problems and the cost of a run."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from operators.storage.errors import refusal
from operators.storage.files import exists, join
from operators.storage.redact import redact
from pipelines.capacity.forecast import FORECAST, Work, describe, find_rates, forecast, to_json
from pipelines.engine.config import (
    EngineConfig,
    ProfileConfig,
    load_profile,
    with_sections,
)
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.rows import PLAN_ROW, Row
from pipelines.engine.specs import PlanSpec
from pipelines.errors import DONE, FAILED, PreflightError, UsageError
from pipelines.execution.ray_session import machine_cpus, ray_session
from pipelines.manifest.confinement import restrict_paths
from pipelines.manifest.consent import check_consent
from pipelines.manifest.reader import titles_of
from pipelines.manifest.titles import UNNAMED, Title, overrides_of
from pipelines.manifest.titles import label as name_of
from pipelines.monitoring.formatting import count, duration
from pipelines.monitoring.grouping import grouped, will_fail
from pipelines.monitoring.run_log import read_logs
from pipelines.monitoring.terminal import table, tell
from pipelines.planning.planner import Planner
from pipelines.planning.plans import DubPlan, TitlePlan, decode
from pipelines.preflight.checks import with_missing_files
from pipelines.preflight.decisions import decided
from pipelines.provenance.credentials import check_options
from pipelines.provenance.home import has_identity
from pipelines.provenance.signing import checked_signing
from pipelines.provenance.watermarks import watermark_key, watermarked
from pipelines.rights.labels import labelled
from pipelines.rights.licence_clean import check_titles, clean_engine
from pipelines.state.content_keys import provenance_of
from pipelines.state.coordinator import Coordinator
from pipelines.state.outputs import foreign_outputs
from pipelines.state.run_directory import RunDirectory, read_json, write_text

#: From so many titles on, planning them in parallel is worth starting Ray.
PARALLEL_TITLES = 8
#: Titles with mistakes in the manifest that have rows in the table; of more, none has.
FAILING_ROWS = 100
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
        engine_notes: those of them that are about the engine, whatever the title.
        forecasts: one per profile: time, CPU- and GPU-hours, money, as ``retalk plan --json`` prints them.
        work: titles, dubs, segments and frames that are left to do.
        made: seconds since the epoch.
        lines: all of it as text for people.
    """

    titles: list[dict[str, Any]]
    problems: list[str]
    notes: list[str]
    engine_notes: list[str]
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
    rights: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    label: Mapping[str, Any] | None = None,
    watermark: Mapping[str, Any] | None = None,
) -> int:
    """Print what `plan` finds, as one JSON object with `as_json`. Exit code 3 if some title could not be
    dubbed.
    """
    # Ray prints what its own processes say to the output.
    with contextlib.redirect_stdout(sys.stderr):
        found = plan(
            manifest,
            run_dir=directory,
            engine=engine,
            profiles=profiles,
            options=settings,
            defaults=defaults,
            roots=roots,
            limits=limits,
            rights=rights,
            provenance=provenance,
            label=label,
            watermark=watermark,
            progress=sys.stderr,
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
    rights: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    label: Mapping[str, Any] | None = None,
    watermark: Mapping[str, Any] | None = None,
    progress: TextIO | None = None,
) -> Plan:
    """Probe every title, look for shots and faces, and forecast time and cost. Nothing is dubbed.

    Args:
        manifest: URL of a manifest, or its rows, as for `run`.
        run_dir: run directory of the run that is thought of, or None. The forecast is kept there, and where a
            run was begun, what is found out about its titles.
        engine: name, path of a .yaml file, or configuration.
        profiles: the same; the first one's segments are planned, each gets a forecast.
        options, defaults, roots, limits, rights, label, watermark: as for `run`.
        progress: where titles that are known to fail are named before the others are looked into.

    Raises:
        ConfigError, ManifestError, MissingConsentError: wrong usage.

    Returns:
        The plan; its ``problems`` say why titles cannot be dubbed.

    Examples:
        >>> found = retalk.plan("catalogue.jsonl", run_dir="out")  # doctest: +SKIP
        >>> print(*found.lines, sep="\\n")  # doctest: +SKIP
    """
    loaded = [load_profile(one) if isinstance(one, str) else one for one in profiles]
    chosen = [with_sections(one, limits=limits, rights=rights) for one in loaded]
    built, cleaned = clean_engine(engine, options, chosen[0].rights)
    first = with_sections(chosen[0], label=label, watermark=watermark, provenance=provenance)
    notice, marks, signing = first.label, first.watermark, first.provenance
    if signing.on:
        check_options(signing)
    # An identity of this user that is not there yet is not made.
    if signing.on and (signing.sign_cert or signing.sign_key or has_identity()):
        checked_signing(signing, built.config.draws)
    work, plans = Work(), list[TitlePlan]()
    with tempfile.TemporaryDirectory(prefix="retalk-plan-") as scratch:
        # As the run will have it: its absolute path is part of what decides whether a title is done.
        run = RunDirectory(str(run_dir)).url if run_dir else scratch
        with _names_without(scratch):
            listed = labelled(titles_of(manifest, built, run, defaults), built, notice)
            listed = watermarked(listed, built, marks, watermark_key(marks))
            built, listed = decided(built, listed, chosen[0])
            if any(one.rights.require_consent for one in chosen):
                check_consent(listed)
            check_titles(built, listed, chosen[0].rights)
        titles = with_missing_files(restrict_paths(listed, roots, run))
        if progress is not None and not all(title.hopeless for title in titles):
            for text in will_fail(titles, "the problems list them"):
                tell(text, progress)
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
                plans.append(_without(f"{scratch}/", decode(TitlePlan, row["meta"])))
        forecasts = forecasts_of(built, chosen, work, run)
    order = {title.id: number for number, title in enumerate(titles)}
    plans.sort(key=lambda one: order[one.title.id])
    content = to_json(work, forecasts, time.time())
    engine_notes = [*cleaned, *built.notes]
    existing = [*engine_notes, *_existing(RunDirectory(run), titles)]
    if run_dir and work.dubs:
        kept = {"forecasts": _with_earlier(join(run, FORECAST), content)}
        try:
            write_text(join(run, FORECAST), json.dumps(kept))
        except OSError as problem:
            existing.append(f"the forecast cannot be kept in {redact(run)} ({refusal(problem)})")
    lines, failing, noted = plan_table(plans)
    lines += [f"problem: {text}" for text in grouped(failing, "--json lists all")]
    lines += [f"note: {text}" for text in [*grouped(noted, "--json lists all"), *existing]]
    problems, notes = ([f"{name}: {text}" for name, text in found] for found in (failing, noted))
    notes += existing
    if work.dubs:  # where nothing would be done, nothing is to be forecast
        lines += [line for one in forecasts for line in describe(one)]
    dubs = [{**dub, "title": one.title.id} for one in plans for dub in _dubs_json(one)]
    return Plan(
        titles=dubs, problems=problems, notes=notes, engine_notes=engine_notes, lines=lines, **content
    )


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
    """The planner's rows for all titles, by Ray where there are many to look into."""
    planner, left = Planner(spec, Coordinator()), [title for title in titles if not title.hopeless]
    here = titles if len(left) < PARALLEL_TITLES else [title for title in titles if title.hopeless]
    for title in here:
        yield from planner.plan(title)
    if len(here) == len(titles):
        return
    from pipelines.execution.coordinator_client import start_coordinator
    from pipelines.execution.ray_graph import stream

    profile = load_profile("laptop").model_copy(
        update={"plan": PoolConfig(name="plan", per_cpu=1, num_cpus=1, in_flight=1)}
    )
    with ray_session(store_mib) as ray:
        name, coordinator = start_coordinator()
        for rows in stream(left, spec, [], profile, name):
            yield from rows
        ray.kill(coordinator)


def _without(folder: str, plan: TitlePlan) -> TitlePlan:
    """A plan without the name of a private folder in what is said of its dubs."""
    for dub in plan.dubs:
        dub.error, dub.notes = dub.error.replace(folder, ""), [note.replace(folder, "") for note in dub.notes]
    return plan


def _dubs_json(plan: TitlePlan) -> Iterator[dict[str, Any]]:
    for dub in plan.dubs:
        yield {
            "dub": dub.dub.dub,
            "state": dub.state,
            "error": redact(dub.error),
            "notes": dub.notes,
            "frames": dub.frames,
            "video_seconds": dub.video_seconds,
            "segments": len(dub.output_segments),
            "segments_to_do": len(dub.left),
            "width": plan.width or None,
            "height": plan.height or None,
            "shots": plan.shots or None,
            "faceless_shots": plan.faceless_shots if plan.shots else None,
        }


def plan_table(plans: Sequence[TitlePlan]) -> tuple[list[str], Named, Named]:
    """Return the plan as text: lines with a table of dubs and the sums; and the problems in full and the
    notes, each with the name of its title.
    """
    rows = [["title", "dub", "size", "frames", "length", "shots", "segments", "state"]]
    problems: Named = []
    notes: Named = []
    many = sum(plan.title.hopeless for plan in plans) > FAILING_ROWS
    for plan in plans:
        name = plan.title.id
        for dub in plan.dubs:
            if not (plan.title.hopeless and many):  # they stand in the problems, grouped
                rows.append(_table_row(plan, dub))
            named = name_of(name, dub.dub.dub)
            if dub.state == "failed":
                problems.append((named, redact(dub.error)))
            notes += [(named, note) for note in dub.notes]
        if plan.faceless_shots:
            untouched = (
                f"in {plan.faceless_shots} of {plan.shots} shots the person is not seen; they pass untouched"
            )
            notes.append((name, untouched))
    dubs, running = (
        [dub for plan in plans for dub in plan.dubs],
        [dub for plan in plans for dub in plan.running],
    )
    todo = sum(len(dub.left) for dub in running)
    video = duration(sum(dub.video_seconds for dub in running))
    counts = f"{count(len(plans), 'title')}, {count(len(dubs), 'dub')}: {count(todo, 'segment')} to do"
    sums = f"{counts}, {video} of video, {count(len(problems), 'problem')}"
    if not any(row[1] for row in rows[1:]):  # no dub has a name
        rows = [[row[0], *row[2:]] for row in rows]
    return [*(table(rows) if rows[1:] else []), "", sums], problems, notes


def _table_row(plan: TitlePlan, dub: DubPlan) -> list[str]:
    name, probed = dub.dub.dub, plan.frames > 0
    states = {"run": f"{len(dub.left)} to do", "done": "done already", "failed": "FAILS"}
    return [
        shortened(plan.title.id),
        "" if name == UNNAMED else name,
        f"{plan.width}x{plan.height}" if probed else "?",
        str(dub.frames or plan.frames or "?"),
        duration(dub.video_seconds or plan.video_seconds) if probed else "?",
        str(plan.shots or "?"),
        str(len(dub.output_segments) or "?"),
        states[dub.state],
    ]


def shortened(name: str) -> str:
    """A title's id for a column of a table: beginning and end of one that is long."""
    return name if len(name) <= WIDEST else f"{name[: WIDEST - 16]}…{name[-15:]}"
