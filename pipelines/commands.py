"""What the commands of `retalk` do, given their arguments: run, print, and return the exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from operators.media.storage import exists, filesystem, join
from pipelines.board import Board
from pipelines.config import PoolConfig, load_profile
from pipelines.dub import DONE, FAILED, Report, resolve_engine, run, side_directory
from pipelines.engine import stage_table
from pipelines.manifest import read_manifest
from pipelines.plan import Planner, PlanSpec
from pipelines.preflight import PreflightError
from pipelines.progress import duration
from pipelines.rows import Row
from pipelines.session import ray_session
from pipelines.state import remove
from pipelines.titles import Title

#: From so many titles on, planning them in parallel is worth starting Ray.
PARALLEL_TITLES = 8


def show_failures(report: Report, verbose: bool) -> None:
    """Print the titles that failed with their reasons, and what the user should know of the others."""
    for record in report.records:
        for note in record["notes"] or []:
            print(f"note: {record['title']} [{record['dub']}]: {note}", file=sys.stderr)
    for record in report.failed:
        print(f"failed: {record['title']} [{record['dub']}]: {record['error']}", file=sys.stderr)
        if verbose and record.get("traceback"):
            print(record["traceback"], file=sys.stderr)


def dub_one(video: str, speech: str, output: str, *, defaults: Mapping[str, Any], **options: Any) -> int:
    """`retalk dub`: one title in a run directory beside the output, which goes when the output is there."""
    name = output.rsplit("/", 1)[-1].rsplit(".", 1)[0] or "title"
    directory = side_directory(output)
    began = time.monotonic()
    row = {"id": name, "video": video, "speech": speech, "output": _absolute(output)}
    try:
        report = run([row], run_dir=directory, defaults=defaults, **options)
    except KeyboardInterrupt:
        print(f"interrupted: the same command goes on where it stood (work is kept in {directory})", file=sys.stderr)
        return 130
    except PreflightError:
        if not _kept(directory):
            remove(directory, recursive=True)
        raise
    show_failures(report, options["verbose"])
    kept = _kept(directory) or options["keep_segments"]
    if report.exit_code == DONE or not kept:
        if not options["keep_segments"]:
            remove(directory, recursive=True)
    else:
        print(f"work is kept in {directory}: run the same command again to go on, or delete it", file=sys.stderr)
    if report.exit_code == DONE:
        record = report.records[0]
        print(f"{record['output']}: {record['frames']} frames, {record['video_seconds']:.1f} s, in {duration(time.monotonic() - began)}")
    return report.exit_code


def _absolute(output: str) -> str:
    """An output given on the command line lies below the working directory, not below a run directory."""
    from pathlib import Path

    return output if "://" in output else str(Path(output).absolute())


def _kept(directory: str) -> bool:
    """Whether the run directory holds committed segments."""
    fs, path = filesystem(join(directory, "receipts"))
    return bool(fs.isdir(path) and fs.find(path))


def run_catalogue(manifest: str, directory: str, **options: Any) -> int:
    """`retalk run`: a manifest into a run directory."""
    began = time.monotonic()
    try:
        report = run(manifest, run_dir=directory, **options)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stood", file=sys.stderr)
        return 130
    show_failures(report, options["verbose"])
    failed, seconds = len(report.failed), sum(r["video_seconds"] for r in report.records if r["state"] == "done")
    print(
        f"{len(report.records) - failed} done, {failed} failed; {duration(seconds)} of video in {duration(time.monotonic() - began)}; "
        f"{report.computed} segments computed, {report.reused} taken from an earlier run; ledger: {join(report.run_dir, 'ledger.jsonl')}"
    )
    return report.exit_code


def show_stages(engine: str, settings: Mapping[str, Mapping[str, Any]], options: bool) -> int:
    """`retalk stages`: the table of stages, or their options."""
    built = resolve_engine(engine, settings)
    if not options:
        print(stage_table(built))
        return DONE
    for spec in built.stages:
        kinds = get_type_hints(type(spec.options))
        for field in dataclasses.fields(spec.options):
            kind = kinds[field.name]
            allowed = " | ".join(map(repr, get_args(kind))) if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
            print(f"{spec.name}.{field.name} = {getattr(spec.options, field.name)!r}  ({allowed})")
    return DONE


def show_plan(
    manifest: str, directory: str | None, engine: str, profile: str, settings: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> int:
    """`retalk plan`: probe every title and print what a run would do. Exit code 3 if some title could not be dubbed."""
    built, chosen = resolve_engine(engine, settings), load_profile(profile)
    with tempfile.TemporaryDirectory(prefix="retalk-plan-") as scratch:
        titles = read_manifest(manifest, built, directory or scratch, defaults)
        # With a run directory that exists, shots and faces that are found are kept for the run; else nothing is written.
        where = directory if directory and exists(directory) else scratch
        spec = PlanSpec(built.config, where, chosen.segment_frames)
        marks = [json.loads(row["meta"]) for row in _planned(titles, spec, chosen.store_mib) if row["segment"] < 0]
    order = {title.id: number for number, title in enumerate(titles)}
    marks.sort(key=lambda mark: order[mark["title"]["id"]])
    print(_plan_table(marks))
    return FAILED if any(dub["state"] == "failed" for mark in marks for dub in mark["dubs"]) else DONE


def _planned(titles: list[Title], spec: PlanSpec, store_mib: int | None) -> Iterator[Row]:
    """The planner's rows for all titles, by Ray where there are many."""
    if len(titles) < PARALLEL_TITLES:
        planner = Planner(spec, Board())
        for title in titles:
            yield from planner.plan(title)
        return
    from pipelines.graph import start_board, stream

    profile = load_profile("laptop").model_copy(update={"plan": PoolConfig(name="plan", per_cpu=1, num_cpus=1, in_flight=1)})
    with ray_session(store_mib) as ray:
        name, board = start_board()
        yield from stream(titles, spec, [], profile, name)
        ray.kill(board)


def _plan_table(marks: list[dict[str, Any]]) -> str:
    """The plan for people: a line a dub, the sums, and the problems in full."""
    rows = [["title", "dub", "size", "frames", "length", "shots", "segments", "state"]]
    problems, notes = [], []
    for mark in marks:
        for plan in mark["dubs"]:
            todo = [piece for piece in plan["pieces"] if not piece["receipt"]]
            state = {"run": f"{len(todo)} to do", "done": "done already", "failed": "FAILS"}[plan["state"]]
            size = f"{mark['width']}x{mark['height']}" if "width" in mark else "?"
            length = duration(plan["video_seconds"] or mark.get("video_seconds", 0)) if "frames" in mark else "?"
            numbers = [str(plan["frames"] or mark.get("frames", "?")), length, str(mark.get("shots", "?")), str(len(plan["pieces"]) or "?")]
            rows.append([mark["title"]["id"], plan["dub"]["dub"], size, *numbers, state])
            if plan["state"] == "failed":
                problems.append(f"{mark['title']['id']} [{plan['dub']['dub']}]: {plan['error']}")
            notes += [f"{mark['title']['id']} [{plan['dub']['dub']}]: {note}" for note in plan["notes"]]
        if mark.get("faceless_shots"):
            notes.append(
                f"{mark['title']['id']}: in {mark['faceless_shots']} of {mark['shots']} shots the person is not seen; they pass untouched"
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    plans = [plan for mark in marks for plan in mark["dubs"]]
    todo = [piece for plan in plans if plan["state"] == "run" for piece in plan["pieces"] if not piece["receipt"]]
    hours = sum(plan["video_seconds"] for plan in plans if plan["state"] == "run") / 3600
    lines += [
        "",
        f"{len(marks)} titles, {len(plans)} dubs: {len(todo)} segments to do, {hours:.2f} hours of video, {len(problems)} problems",
    ]
    return "\n".join([*lines, *(f"problem: {text}" for text in problems), *(f"note: {text}" for text in notes)])
