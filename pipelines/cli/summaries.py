"""Outcome of a run as text and as JSON."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from operators.storage.files import join
from operators.storage.redact import redact, redact_all
from pipelines.cli.records import record_json
from pipelines.monitoring.formatting import count, duration
from pipelines.runner import Report

#: Failed titles that a notification names.
NAMED = 100


def outcome(report: Report) -> str:
    """Count the dubs that were done already, are done now and have failed: ``5 already done, 2 dubbed, 1 failed``."""
    dubbed = len(report.records) - len(report.failed) - report.already
    parts = [f"{report.already} already done"] if report.already else []
    if dubbed or not report.already:
        parts.append(f"{dubbed} dubbed")
    return ", ".join([*parts, f"{len(report.failed)} failed"])


def closing_line(report: Report, seconds: float) -> str:
    """The last line of `retalk run`."""
    ledger = redact(join(report.run_dir, "ledger.jsonl"))
    if report.records and report.already == len(report.records):
        return f"nothing to do: {report.already} already done; ledger: {ledger}"
    began = time.time() - seconds
    video = sum(
        record["video_seconds"]
        for record in report.records
        if record["state"] == "done" and _finished(record) >= began
    )
    made = f"; {duration(video)} of video in {duration(seconds)}" if video else f"; {duration(seconds)}"
    reused = f"; {count(report.reused, 'segment')} of an earlier run used again" if report.reused else ""
    look = sum(record.get("verdict") == "review" for record in report.records)
    told = f"; {look} for review: retalk report {redact(report.run_dir)}" if look else ""
    return f"{outcome(report)}{made}{reused}{told}; ledger: {ledger}"


def _finished(record: Mapping[str, Any]) -> float:
    """When a dub ended, in seconds since the epoch, to the end of that second."""
    text = record.get("finished")
    return datetime.datetime.fromisoformat(text).timestamp() + 1 if text else 0.0


def as_json(report: Report, seconds: float, has_directory: bool = True) -> dict[str, Any]:
    """A report for machines: counts, notes, and the records of all titles with their errors.

    Args:
        report: of the run.
        seconds: that it took.
        has_directory: the run directory is still there.
    """
    failed = len(report.failed)
    return redact_all(
        {
            "outcome": "failed" if failed else "done",
            "exit_code": report.exit_code,
            "run_dir": report.run_dir if has_directory else None,
            "already_done": report.already,
            "dubbed": len(report.records) - failed - report.already,
            "failed": failed,
            "segments": {"computed": report.computed, "reused": report.reused},
            "seconds": round(seconds, 3),
            "notes": report.noticed,
            "ray_output": report.ray_output or None,
            "records": [record_json(record) for record in report.records],
        }
    )


def for_notification(report: Report, seconds: float) -> dict[str, Any]:
    """A report as `--notify` posts it: counts, and the failed titles with their errors."""
    whole = as_json(report, seconds)
    failed = [record for record in whole.pop("records") if record["state"] != "done"]
    named = [{name: record[name] for name in ("title", "dub", "error")} for record in failed]
    return {**whole, "failed_titles": named[:NAMED]}
