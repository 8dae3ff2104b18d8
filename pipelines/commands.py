"""What the commands of `retalk` do, given their arguments: run, print, and return the exit code."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import time
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from operators.media.redact import redact
from operators.media.storage import join
from operators.stage import option_help
from pipelines.dub import DONE, Report, resolve_engine, run, side_directory
from pipelines.engine import stage_table
from pipelines.one_title import dub, has_work
from pipelines.progress import duration


def show_failures(report: Report, verbose: bool) -> None:
    """Print the titles that failed with their reasons, and what the user should know of the others."""
    for text in report.noticed:
        print(f"note: {text}", file=sys.stderr)
    for record in report.records:
        for note in record["notes"] or []:
            print(f"note: {record['title']} [{record['dub']}]: {note}", file=sys.stderr)
    for record in report.failed:
        print(f"failed: {record['title']} [{record['dub']}]: {record['error']}", file=sys.stderr)
        if verbose and record.get("traceback"):
            print(redact(record["traceback"]), file=sys.stderr)


def dub_one(video: str, speech: str, output: str, **options: Any) -> int:
    """`retalk dub`: one title in a run directory beside the output, which goes when the output is there."""
    directory, began = side_directory(output), time.monotonic()
    try:
        report = dub(video, speech, output, **options)
    except KeyboardInterrupt:
        print(redact(f"interrupted: the same command goes on where it stood (work is kept in {directory})"), file=sys.stderr)
        return 130
    show_failures(report, options["verbose"])
    if report.exit_code == DONE:
        record = report.records[0]
        print(f"{record['output']}: {record['frames']} frames, {record['video_seconds']:.1f} s, in {duration(time.monotonic() - began)}")
    elif has_work(directory) or options["keep_segments"]:
        print(redact(f"work is kept in {directory}: run the same command again to go on, or delete it"), file=sys.stderr)
    return report.exit_code


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
        f"{report.computed} segments computed, {report.reused} taken from an earlier run; "
        f"ledger: {redact(join(report.run_dir, 'ledger.jsonl'))}"
    )
    return report.exit_code


def show_stages(engine: str, settings: Mapping[str, Mapping[str, Any]], options: bool) -> int:
    """`retalk stages`: the table of stages, or their options."""
    built = resolve_engine(engine, settings)
    if not options:
        print(stage_table(built))
        return DONE
    for spec in built.stages:
        kinds, means = get_type_hints(type(spec.options)), option_help(type(spec.options))
        for field in dataclasses.fields(spec.options):
            kind = kinds[field.name]
            if get_origin(kind) is Literal:
                allowed = " | ".join(map(repr, get_args(kind)))
            else:
                allowed = str(kind) if get_origin(kind) else kind.__name__
            print(f"{spec.name}.{field.name} = {getattr(spec.options, field.name)!r}  ({allowed})")
            if means[field.name]:
                print(textwrap.fill(means[field.name], 120, initial_indent="    ", subsequent_indent="    "))
    return DONE
