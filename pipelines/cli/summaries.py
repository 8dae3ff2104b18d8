"""Outcome of a run as text and as JSON."""

from __future__ import annotations

from typing import Any

from operators.storage.files import join
from operators.storage.redact import redact, redact_all
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
    video = sum(record["video_seconds"] for record in report.records if record["state"] == "done")
    reused = f"; {count(report.reused, 'segment')} of an earlier run used again" if report.reused else ""
    ledger = redact(join(report.run_dir, "ledger.jsonl"))
    return f"{outcome(report)}; {duration(video)} of video in {duration(seconds)}{reused}; ledger: {ledger}"


def as_json(report: Report, seconds: float) -> dict[str, Any]:
    """A report for machines: counts, notes, and the records of all titles with their errors."""
    failed = len(report.failed)
    return redact_all(
        {
            "outcome": "failed" if failed else "done",
            "exit_code": report.exit_code,
            "run_dir": report.run_dir,
            "already_done": report.already,
            "dubbed": len(report.records) - failed - report.already,
            "failed": failed,
            "segments": {"computed": report.computed, "reused": report.reused},
            "seconds": round(seconds, 3),
            "notes": report.noticed,
            "records": report.records,
        }
    )


def for_notification(report: Report, seconds: float) -> dict[str, Any]:
    """A report as `--notify` posts it: counts, and the failed titles with their errors."""
    whole = as_json(report, seconds)
    failed = [record for record in whole.pop("records") if record["state"] != "done"]
    named = [{name: record[name] for name in ("title", "dub", "error")} for record in failed]
    return {**whole, "failed_titles": named[:NAMED]}
