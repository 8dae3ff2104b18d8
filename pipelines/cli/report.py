"""`retalk report`: work and cost of a run beside its forecast, and its failures grouped by reason."""

from __future__ import annotations

import datetime
import json
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from operators.storage.errors import refusal
from operators.storage.files import join, local_path
from operators.storage.redact import redact
from pipelines.capacity.forecast import FORECAST, HOUR, cost_of, hours_of_forms
from pipelines.engine.profile_parts import NodeGroup
from pipelines.errors import DONE, FAILED
from pipelines.manifest.consent import has_consent
from pipelines.manifest.titles import label
from pipelines.monitoring.formatting import count, duration, short_time
from pipelines.monitoring.grouping import reason_of
from pipelines.monitoring.progress import Progress
from pipelines.monitoring.run_log import read_logs
from pipelines.monitoring.terminal import table
from pipelines.review.exports import as_csv, as_junit
from pipelines.review.page import write_page
from pipelines.state.listed import pending, split_listed
from pipelines.state.ownership import require_run_metadata
from pipelines.state.run_directory import Record, RunDirectory, read_json, write_text

Format = Literal["markdown", "json", "csv", "junit"]
#: Titles that are named for each reason.
NAMED = 5
BOOKED = (
    "Time booked is that in which workers had something to do, times the CPUs or GPUs that they book, whether these were busy or waited: "
    "beside other work it is more than processors have computed. Money is that of the nodes while they were up."
)
#: Dubs that have not ended yet and that are named.
PENDING = 10


def group_failures(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Failed records by reason, the most frequent first: ``{reason, count, titles, example}``."""
    groups: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["state"] != "failed":
            continue
        reason = reason_of(record["error"] or "")
        group = groups.setdefault(
            reason, {"reason": reason, "count": 0, "titles": [], "example": record["error"]}
        )
        group["count"] += 1
        group["titles"].append(label(record["title"], record["dub"]))
    return sorted(groups.values(), key=lambda group: (-group["count"], group["reason"]))


def group_metrics(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each metric over the dubs that have a value of it: ``{name, per, unit, dubs, mean, worst, where}``.

    ``worst`` is that of the worst unit of all dubs, and ``where`` names its dub and the place in the output;
    None where no value is worse than others.
    """
    found: dict[str, list[tuple[Record, dict[str, Any]]]] = {}
    for record in records:
        for metric in record.get("metrics") or ():
            found.setdefault(metric["name"], []).append((record, metric))
    rows = []
    for name, entries in sorted(found.items()):
        first = entries[0][1]
        worst, where = None, None
        if first["better"]:
            sign = 1 if first["better"] == "higher" else -1
            record, metric = min(entries, key=lambda pair: sign * _lowest(pair[1]))
            worst, at = _lowest(metric), metric["worst_at"]
            where = f"{record['title']} [{record['dub']}]" + ("" if at is None else f" at {duration(at)}")
        mean = sum(metric["value"] for _, metric in entries) / len(entries)
        said = {"name": name, "per": first["per"], "unit": first["unit"], "dubs": len(entries)}
        rows.append({**said, "mean": mean, "worst": worst, "where": where})
    return rows


def _lowest(metric: Mapping[str, Any]) -> float:
    """The value of a dub's worst unit, or its only one."""
    return float(metric["value"] if metric["worst"] is None else metric["worst"])


def actual_of(logs: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> dict[str, Any]:
    """Sums over the logs of runs: each stage's frames and seconds, CPU- and GPU-hours that were booked (seconds by the clock times what
    an actor books), wall time, node-hours and money (None: unknown).

    Seconds of ``assemble`` come from the records, which know the last assembly of a dub only.
    """
    stages: dict[str, dict[str, float]] = {}
    for log in logs:
        for name, counted in log["stages"].items():
            total = stages.setdefault(
                name, dict.fromkeys(("frames", "seconds", "cpu_hours", "gpu_hours", "errors"), 0.0)
            )
            cpus = counted["num_cpus"] if counted["num_gpus"] else max(1.0, counted["num_cpus"])
            hours = counted["seconds"] / HOUR
            step = {"cpu_hours": hours * cpus, "gpu_hours": hours * counted["num_gpus"]}
            for kind, value in {**{k: counted[k] for k in ("frames", "seconds", "errors")}, **step}.items():
                total[kind] += value
    done = [record for record in records if record["state"] == "done"]
    joined = sum(json.loads(record["stage_seconds"] or "{}").get("assemble", 0.0) for record in done)
    if joined:
        frames = sum(record["frames"] for record in done)
        stages["assemble"] = {
            "frames": frames,
            "seconds": joined,
            "cpu_hours": joined / HOUR,
            "gpu_hours": 0.0,
            "errors": 0.0,
        }
    nodes = node_hours_of(logs)
    return {
        "runs": len(logs),
        "stages": stages,
        **{kind: sum(stage[kind] for stage in stages.values()) for kind in ("cpu_hours", "gpu_hours")},
        "wall_seconds": sum(log["updated"] - log["started"] for log in logs),
        "frames": sum(log["done"] for log in logs),
        **nodes,
    }


def node_hours_of(logs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Node-hours by group and their money; None where a node belongs to no group of its run's profile, or a
    group has no price.
    """
    hours: dict[str, float] = {}
    money: float | None = 0.0
    known = True
    for log in logs:
        groups = [NodeGroup.model_validate(group) for group in log.get("nodes", [])]
        found = hours_of_forms(groups, log["node_seconds"])
        if found is None:
            known = False
            continue
        for name, value in found.items():
            hours[name] = hours.get(name, 0.0) + value
        spent = cost_of(groups, found)
        money = None if money is None or spent is None else money + spent
    currency = next((log["currency"] for log in reversed(logs) if log.get("currency")), "")
    return {
        "node_hours": hours if known and logs else None,
        "cost": money if known and logs else None,
        "currency": currency,
    }


def read_report(url: str) -> dict[str, Any]:
    """Gather the contents of `retalk report`.

    Returns:
        ``dubs`` (done, failed, frames, video_seconds, segments, reused), ``pending`` (names of those that have
        not ended), ``failures``, ``actual`` (of all runs), ``forecast`` (of ``forecast.json``, for the profile and
        engine of the last run: the newest that a run has followed, or else the newest; None without one),
        ``since_forecast`` (of the runs after that forecast was made; None without one).

    Raises:
        UsageError: the directory holds no run.
    """
    run = RunDirectory(url)
    about = require_run_metadata(run.url)
    records, logs = run.records(), read_logs(run.url)
    listed, _ = split_listed(run.url, records)
    chosen = _forecast(run.url, about, logs)
    since = None
    if chosen is not None:
        later = [log for log in logs if log["started"] >= chosen["made"]]
        since = actual_of(later, [record for record in records if _finished(record) >= chosen["made"]])
    done = [record for record in listed if record["state"] == "done"]
    dubs: dict[str, Any] = {
        "of": about["dubs"],
        "done": len(done),
        "failed": sum(r["state"] == "failed" for r in listed),
        "review": sum(r.get("verdict") == "review" for r in done),
        "consent": sum(has_consent(r) for r in done),
    }
    dubs.update(
        {
            kind: sum(record[kind] or 0 for record in done)
            for kind in ("frames", "segments", "reused", "video_seconds")
        }
    )
    return {
        **{name: about[name] for name in ("engine", "profile")},
        "dubs": dubs,
        "pending": [label(*dub) for dub in pending(run.url, listed)],
        "failures": group_failures(listed),
        "metrics": group_metrics(done),
        "forecast": chosen,
        "since_forecast": since,
        "actual": actual_of(logs, records),
    }


def _forecast(url: str, about: Mapping[str, Any], logs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the forecast that the runs are compared with."""
    made = read_json(join(url, FORECAST))
    known = made.get("forecasts", []) if isinstance(made, dict) else []
    wanted = (about["profile"], about["engine"])
    mine = [
        one for one in known if isinstance(one, dict) and (one.get("profile"), one.get("engine")) == wanted
    ]
    mine.sort(key=lambda one: -float(one["made"]))
    followed = [one for one in mine if any(log["started"] >= one["made"] for log in logs)]
    return next(iter([*followed, *mine]), None)


def _finished(record: Record) -> float:
    """Return the end of a dub in seconds since the epoch, to the end of that second."""
    text = record.get("finished")
    return datetime.datetime.fromisoformat(text).timestamp() + 1 if text else 0.0


def _number(value: float | None, digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _for_review(dubs: Mapping[str, Any]) -> str:
    return f" For review: {dubs['review']}." if dubs["review"] else ""


def _with_consent(dubs: Mapping[str, Any]) -> str:
    return f" With consent: {dubs['consent']}." if dubs["consent"] else ""


def markdown(url: str, report: Mapping[str, Any]) -> str:
    """The report as Markdown, aligned so that it reads as text too."""
    dubs, actual, planned = report["dubs"], report["actual"], report["forecast"]
    lines = [
        f"# {url}",
        "",
        f"Engine {report['engine']}, profile {report['profile']}, {count(actual['runs'], 'run')}.",
    ]
    lines.append(
        f"Dubs: {dubs['done']} of {dubs['of']} done, {dubs['failed']} failed; "
        f"{duration(dubs['video_seconds'])} of video, "
        f"{dubs['frames']} frames, {dubs['segments']} segments ({dubs['reused']} taken from an earlier run)."
        + _for_review(dubs)
        + _with_consent(dubs)
    )
    if waiting := report["pending"]:
        named = ", ".join(waiting[:PENDING]) + (" ..." if len(waiting) > PENDING else "")
        lines.append(f"Not ended yet: {len(waiting)} ({named}).")
    lines += [
        "",
        "## Cost"
        + (
            ""
            if planned
            else " (no forecast: `retalk plan MANIFEST -o DIR --profile ...` before the run makes one)"
        ),
        "",
    ]
    since = report["since_forecast"]
    # Runs from before the forecast are no part of it.
    partly = since is not None and since["runs"] != actual["runs"]
    columns = [
        ("forecast", planned),
        *([("since the forecast", since)] if partly else []),
        ("all runs" if partly else "actual", actual),
    ]
    rows = [["", *(name for name, _ in columns)]]
    for row, kind, unit in (
        ("GPU time booked", "gpu_hours", HOUR),
        ("CPU time booked", "cpu_hours", HOUR),
        ("duration", "wall_seconds", 1.0),
    ):
        values = [None if one is None or one[kind] is None else one[kind] * unit for _, one in columns]
        rows.append([row, *(_time(value) for value in values)])
    for name in sorted({*((planned or {}).get("node_hours") or {}), *(actual["node_hours"] or {})}):
        hours = [((one or {}).get("node_hours") or {}).get(name) for _, one in columns]
        rows.append(
            [f"node time, {name}", *(_time(None if value is None else value * HOUR) for value in hours)]
        )
    rows.append(
        [
            "money",
            *(
                f"{_number(one['cost'])} {one['currency']}".strip()
                if one and one["cost"] is not None
                else "unknown"
                for _, one in columns
            ),
        ]
    )
    after = ", of the runs since the forecast was made" if partly and since["runs"] else ""
    counted = since if after else actual
    lines += [*table(rows, markdown=True), "", BOOKED, "", f"## Stages{after}", ""]
    forecasts = {stage["stage"]: stage for stage in planned["stages"]} if planned else {}
    rows = [
        ["stage", "frames", "per frame", "time", "forecast", "CPU time booked", "GPU time booked", "errors"]
    ]
    for name, stage in counted["stages"].items():
        each = short_time(stage["seconds"] / stage["frames"]) if stage["frames"] else "-"
        expected = _time(forecasts.get(name, {}).get("seconds"))
        spent = [_time(stage[kind] * HOUR) for kind in ("cpu_hours", "gpu_hours")]
        rows.append(
            [
                name,
                f"{stage['frames']:.0f}",
                each,
                _time(stage["seconds"]),
                expected,
                *spent,
                f"{stage['errors']:.0f}",
            ]
        )
    lines += table(rows, markdown=True)
    if report["metrics"]:
        lines += ["", "## Metrics", ""]
        rows = [["metric", "unit", "per", "dubs", "mean", "worst", "of"]]
        for metric in report["metrics"]:
            worst = "-" if metric["worst"] is None else f"{metric['worst']:.4g}"
            shown = [
                metric["unit"] or "-",
                metric["per"],
                str(metric["dubs"]),
                f"{metric['mean']:.4g}",
                worst,
            ]
            rows.append([metric["name"], *shown, metric["where"] or "-"])
        lines += table(rows, markdown=True)
    if report["failures"]:
        lines += ["", "## Failures", ""]
        for group in report["failures"]:
            more = f" and {group['count'] - NAMED} more" if group["count"] > NAMED else ""
            lines += [
                f"* {group['count']} × {group['example']}",
                f"  ({', '.join(group['titles'][:NAMED])}{more})",
            ]
    return "\n".join(lines) + "\n"


def show_report(
    url: str, kind: Format = "markdown", browse: bool = False, strips: bool = True, previews: bool = False
) -> int:
    """Print the report and keep it in ``report`` where the run directory can be written: ``report.json``, ``report.md``
    and the review page, ``index.html``. Exit code 3 if titles have failed.

    Args:
        url: the run directory.
        kind: what is printed: the report as Markdown or JSON; verdicts of the dubs as CSV or as JUnit's XML.
        browse: open the review page in a browser.
        strips: draw close-ups of the worst dubs for the page.
        previews: make small copies of all videos for the page.
    """
    report, run = read_report(url), RunDirectory(url)
    records, _ = split_listed(run.url, run.records())
    text = redact(markdown(url, report))
    page = ""
    try:
        write_text(join(run.url, "report", "report.json"), json.dumps(report, indent=1))
        write_text(join(run.url, "report", "report.md"), text)
        with Progress(sys.stderr) as shown:
            page = write_page(run.url, report, records, strips=strips, previews=previews, say=shown.phase)
    except OSError as problem:
        folder = redact(join(run.url, "report"))
        print(f"note: the report cannot be kept in {folder} ({redact(refusal(problem))})", file=sys.stderr)
    if kind == "markdown":
        print(text, end="")
    elif kind == "json":
        print(json.dumps(report))
    else:
        print({"csv": as_csv, "junit": as_junit}[kind](records), end="")
    if page:
        print(f"review page: {redact(page)}", file=sys.stderr)
        if browse:
            webbrowser.open(Path(page).as_uri() if local_path(page) is not None else page)
    return FAILED if report["failures"] else DONE
