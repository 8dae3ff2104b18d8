"""The commands `dub`, `run` and `stages`, given their arguments: run, print, and return the exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin, get_type_hints

from operators.stage import option_help
from operators.storage.files import exists, join
from operators.storage.redact import redact
from pipelines.cli.interruption import RESUME
from pipelines.cli.summaries import as_json as report_json
from pipelines.cli.summaries import closing_line, for_notification
from pipelines.engine.engine import stage_table
from pipelines.engine.metrics import metric_names
from pipelines.engine.profile_parts import ReviewConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import BROKEN, DONE, FAILED, INTERRUPTED, USAGE, UsageError
from pipelines.manifest.titles import Dub, Title, label
from pipelines.monitoring import notify as notification
from pipelines.monitoring.command_log import LOGGER
from pipelines.monitoring.formatting import count, duration
from pipelines.monitoring.grouping import grouped
from pipelines.monitoring.progress import Progress
from pipelines.monitoring.terminal import columns_of, table, tell, wide_table
from pipelines.one_title import (
    absolute,
    check_speakers,
    dub,
    faces_of,
    has_work,
    row_of,
    side_directory,
    speeches_of,
)
from pipelines.preflight.checks import check_dub
from pipelines.runner import Report, run
from pipelines.state.changes import RECOMPUTED
from pipelines.state.outputs import check_outputs
from pipelines.state.ownership import read_run_metadata
from pipelines.state.run_directory import RunDirectory
from pipelines.state.verdict import CAUSES, kept_frames
from retalk_models.inference.memory import GPU_BATCH, actor_memory, networks_of

#: Frames with the video's own mouth from which on a note tells of them.
TOLD = 3


def say(text: str) -> None:
    """Print a line for the user on standard error, and log it."""
    LOGGER.info("%s", text)
    tell(redact(text), sys.stderr)


def _close(options: Mapping[str, Any]) -> None:
    """Take the progress bar away before a command prints its result."""
    if isinstance(shown := options.get("progress"), Progress):
        shown.close()


def show_failures(report: Report, verbose: bool, named: Callable[[Mapping[str, Any]], str]) -> None:
    """Print the titles that failed with their reasons, and what the user should know of the others.

    Args:
        report: of the run.
        verbose: print tracebacks too.
        named: how messages name a record.
    """
    for text in report.noticed:
        say(f"note: {text}")
    ledger = f"all of them are in {redact(join(report.run_dir, 'ledger.jsonl'))}"
    notes = [
        (named(record), note)
        for record in report.records
        for note in record["notes"] or []
        # One line for all dubs that are computed again has been printed.
        if not note.startswith(RECOMPUTED) or (verbose and record.get("changed"))
    ]
    for text in grouped(notes, ledger):
        say(f"note: {text}")
    for text in grouped([(named(record), record["error"]) for record in report.failed], ledger):
        say(f"failed: {text}")
    for record in report.failed:
        if verbose and record.get("traceback"):
            print(redact(record["traceback"]), file=sys.stderr)
    if report.ray_output:
        say(f"Ray's own output: {report.ray_output}")


def _by_title(record: Mapping[str, Any]) -> str:
    return label(record["title"], record["dub"])


def _unnamed(record: Mapping[str, Any]) -> str:
    return ""


@contextmanager
def notified(url: str | None, command: str, directory: str) -> Iterator[dict[str, Any]]:
    """Post a summary to a URL when the context ends, however it ends. What is put into the dict that is given
    goes with it.

    Raises:
        UsageError: the URL cannot be posted to.
    """
    notification.check_url(url)
    summary: dict[str, Any] = {
        "command": command,
        "run_dir": redact(directory),
        "outcome": "interrupted",
        "exit_code": INTERRUPTED,
    }
    try:
        yield summary
    except KeyboardInterrupt:
        raise
    except Exception as problem:
        refused = isinstance(problem, UsageError)
        summary.update(
            outcome="refused" if refused else "error",
            exit_code=USAGE if refused else BROKEN,
            error=redact(str(problem)),
        )
        raise
    finally:
        if url is not None and (undelivered := notification.post(url, summary)):
            say(f"note: the summary was not delivered to {notification.shown(url)}: {undelivered}")


def dub_one(
    video: str,
    speech: str | None,
    output: str,
    *,
    speakers: Sequence[Mapping[str, str]] = (),
    mix: str = "",
    defaults: Mapping[str, Any],
    as_json: bool = False,
    notify: str | None = None,
    **options: Any,
) -> int:
    """`retalk dub`: one title in a run directory beside the output, which goes when the output is there."""
    directory, began = side_directory(output), time.monotonic()
    with notified(notify, "dub", directory) as summary:
        try:
            report = dub(video, speech, output, speakers=speakers, mix=mix, **defaults, **options)
        except KeyboardInterrupt:
            kept = f" (work is kept in {directory})" if has_work(directory) else ""
            say(f"{RESUME}{kept}")
            return INTERRUPTED
        _close(options)
        seconds = time.monotonic() - began
        summary.update(for_notification(report, seconds))
        show_failures(report, options["verbose"], _unnamed)
        if not report.failed:
            if kept := _kept(report.records[0]):
                say(f"note: {kept}")
            for reason in report.records[0].get("reasons") or []:
                say(f"for review: {reason['text']}{_at(reason['at'])}")
        if report.exit_code != DONE and (has_work(directory) or options["keep_segments"]):
            say(f"work is kept in {directory}: run the same command again to resume, or delete it")
        if as_json:
            print(json.dumps(report_json(report, seconds, has_directory=exists(directory))))
        elif report.exit_code == DONE:
            record = report.records[0]
            length = f"{record['frames']} frames, {duration(record['video_seconds'])}"
            tell(f"{record['output']}: {length}, in {duration(seconds)}")
    return report.exit_code


def _kept(record: Mapping[str, Any]) -> str:
    """Say for how long frames that were to be dubbed kept the video's own mouth, and why; empty for less than `TOLD` frames. That
    the speech was over is a note of its own.
    """
    counts = kept_frames(record.get("metrics") or ())
    counts.pop("no speech", None)
    if sum(counts.values()) < TOLD:
        return ""
    seconds = record["video_seconds"] / record["frames"]
    causes = [
        f"{CAUSES.get(reason, reason) or 'for other reasons'} ({frames * seconds:.1f} s)"
        for reason, frames in sorted(counts.items(), key=lambda one: -one[1])
    ]
    return f"for {sum(counts.values()) * seconds:.1f} s the video keeps its own mouth: {', '.join(causes)}"


def _at(seconds: float | None) -> str:
    return "" if seconds is None else f", at {seconds:.2f} s"


def dry_run(
    video: str,
    speech: str | None,
    output: str,
    *,
    progress: Progress,
    speakers: Sequence[Mapping[str, str]] = (),
    mix: str = "",
    as_json: bool = False,
    **options: Any,
) -> int:
    """`retalk dub --dry-run`: what would be done, and whether it would fail. Nothing is dubbed."""
    from pipelines.cli.plan import plan

    directory, row = side_directory(output), row_of(video, speech, output, speakers, mix)
    check_speakers(row)
    faces = faces_of(row, options["defaults"].get("face", "largest"))
    check_dub(video, speeches_of(row), output, faces, row.get("mix", ""))
    if not (options["overwrite"] or (read_run_metadata(directory) or {}).get("overwrite")):
        check_outputs(
            RunDirectory(directory),
            [Title(row["id"], video, (Dub("dub", speeches_of(row)[0], row["output"]),))],
        )
    progress.phase("looking for shots and faces")
    asked = {
        name: options[name]
        for name in (
            *("engine", "options", "defaults", "roots", "limits"),
            *("rights", "label", "watermark", "provenance"),
        )
    }
    run_dir = directory if has_work(directory) else None
    found = plan([row], run_dir=run_dir, profiles=[options["profile"]], **asked)
    progress.close()
    (title,) = found.titles
    told = {
        **title,
        "engine": found.forecasts[0]["engine"],
        "profile": found.forecasts[0]["profile"],
        "output": redact(absolute(output)),
        "notes": [*found.engine_notes, *title["notes"]],
    }
    if as_json:
        print(json.dumps({**told, "dry_run": True, "exit_code": FAILED if title["error"] else DONE}))
    elif not title["error"]:
        tell("\n".join(_dry_lines(redact(video), told)))
    for note in told["notes"]:
        say(f"note: {note}")
    if title["error"]:
        say(f"would fail: {title['error']}")
    return FAILED if title["error"] else DONE


def _dry_lines(video: str, found: Mapping[str, Any]) -> list[str]:
    passed = (
        f", {found['faceless_shots']} of them without the person: they pass untouched"
        if found["faceless_shots"]
        else ""
    )
    done = found["segments"] - found["segments_to_do"]
    resumed = f", {count(done, 'segment')} of an interrupted run used again" if done else ""
    return [
        f"{video}: {found['width']}x{found['height']}, {count(found['shots'] or 0, 'shot')}{passed}",
        f"{found['output']}: {found['frames']} frames, {duration(found['video_seconds'])}, would be written",
        f"engine {found['engine']}, profile {found['profile']}: {count(found['segments_to_do'], 'segment')} to compute{resumed}",
    ]


def run_catalogue(
    manifest: str, directory: str, *, as_json: bool = False, notify: str | None = None, **options: Any
) -> int:
    """`retalk run`: a manifest into a run directory."""
    began = time.monotonic()
    with notified(notify, "run", directory) as summary:
        try:
            report = run(manifest, run_dir=directory, **options)
        except KeyboardInterrupt:
            say(RESUME)
            return INTERRUPTED
        _close(options)
        seconds = time.monotonic() - began
        summary.update(for_notification(report, seconds))
        show_failures(report, options["verbose"], _by_title)
        LOGGER.info("%s", closing_line(report, seconds))
        if options["verbose"]:
            say(f"segments: {report.computed} computed, {report.reused} taken from an earlier run")
        if as_json:
            print(json.dumps(report_json(report, seconds)))
        else:
            tell(closing_line(report, seconds))
    return report.exit_code


def memory_text(files: Sequence[str]) -> str:
    """Memory that an actor with a stage's networks needs on its device; "" for a stage without networks."""
    names = networks_of(files)
    if not names:
        return ""
    needs = actor_memory(names, GPU_BATCH)
    return (
        f"{', '.join(names)}: {needs.weights:.0f} MiB of weights, and {needs.item:.0f} MiB while they run on a GPU, "
        f"{GPU_BATCH} pictures at a time ({needs.item / GPU_BATCH:.0f} MiB on a CPU, one at a time); in half precision about half "
        "of it. Counted; what CUDA itself takes comes on top (retalk profile measures)"
    )


def show_stages(engine: str, settings: Mapping[str, Mapping[str, Any]], options: bool) -> int:
    """`retalk stages`: the table of stages, or their options."""
    built = resolve_engine(engine, settings)
    if not options:
        rows = stage_table(built)
        lines = wide_table(rows, sys.stdout) if sys.stdout.isatty() else table(rows, markdown=True)
        print("\n".join(lines))
        return DONE
    print(f"metrics.on = 'default'  (default | all | none | names with commas: {', '.join(metric_names())})")
    print("    metrics of the results that are measured: `retalk stages --list` shows them")
    for name, threshold in ReviewConfig.model_fields.items():
        print(f"review.{name} = {threshold.default}")
        print(f"    threshold for review: {threshold.description}")
    for spec in built.stages:
        if needs := memory_text(spec.stage.model_files(spec.options)):
            print(f"{spec.name}: {needs}")
        kinds, means = get_type_hints(type(spec.options)), option_help(type(spec.options))
        for field in dataclasses.fields(spec.options):
            kind = kinds[field.name]
            if get_origin(kind) is Literal:
                allowed = " | ".join(map(repr, get_args(kind)))
            else:
                allowed = str(kind) if get_origin(kind) else kind.__name__
            tell(f"{spec.name}.{field.name} = {getattr(spec.options, field.name)!r}  ({allowed})")
            if means[field.name]:
                width = min(100, columns_of(sys.stdout)) if sys.stdout.isatty() else 100
                filled = textwrap.fill(means[field.name], max(24, width) - 4)
                print(textwrap.indent(filled, "    "))
    return DONE
