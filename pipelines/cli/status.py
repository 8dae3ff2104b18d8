"""`retalk status`: state of a run, from its run directory alone, live and afterwards."""

from __future__ import annotations

import datetime
import json
import sys
import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.storage.files import exists, filesystem, join
from operators.storage.redact import redact
from pipelines.cli.records import record_json
from pipelines.errors import DONE, FAILED
from pipelines.manifest.titles import label
from pipelines.monitoring.formatting import count, duration, short_time
from pipelines.monitoring.grouping import grouped
from pipelines.monitoring.progress_text import SLOW_START, slow_start
from pipelines.monitoring.run_log import SILENT, read_logs
from pipelines.monitoring.terminal import table, tell
from pipelines.state.listed import split_listed
from pipelines.state.lock import holder
from pipelines.state.ownership import require_run_metadata
from pipelines.state.run_directory import RunDirectory, read_json

#: Seconds between two looks of ``--watch``.
WATCH_PERIOD = 5.0


def read_status(url: str) -> dict[str, Any]:
    """Counts of a run.

    Returns:
        ``state``: "running"; "silent" (its process holds the directory, but writes no log any more); "died"
        (it ended without a word: see ``died``, the lock it left); "finished"; or "stopped" (interrupted, with
        work left). ``running``: the lock's content or None. ``started`` (seconds since the epoch),
        ``engine``, ``profile``, ``titles``, ``dubs`` (of the manifest), ``done``, ``failed`` (records),
        ``left`` (dubs), ``unlisted`` (records of dubs that the newest manifest does not list; the others do
        not count them). ``segments`` and ``frames`` (planned so far), ``committed`` and ``committed_frames``
        (of these, receipts or done). ``log``: the newest run's log (`pipelines.monitoring.run_log`) or None,
        with its ``age`` in seconds.

    Raises:
        UsageError: the directory holds no run.
    """
    run = RunDirectory(url)
    about = require_run_metadata(run.url)
    records, gone = split_listed(run.url, run.records())
    done = {(record["title"], record["dub"]) for record in records if record["state"] == "done"}
    failed = [record for record in records if record["state"] == "failed"]
    lock, logs = holder(run.url), read_logs(run.url)
    log = logs[-1] if logs and logs[-1]["started"] >= about["started"] - 60 else None
    left = max(0, about["dubs"] - len(done) - len(failed))
    status: dict[str, Any] = {
        "state": "",
        "running": lock,
        "died": None,
        **{name: about[name] for name in ("started", "titles", "dubs", "engine", "profile")},
        "done": len(done),
        "failed": failed,
        "left": left,
        "unlisted": len(gone),
        **_committed(run, done),
        "log": {**log, "age": round(time.time() - log["updated"], 1)} if log is not None else None,
    }
    remains = read_json(join(run.url, "lock.json"))
    if lock is not None:
        status["state"] = (
            "silent"
            if log is not None and status["log"]["age"] > SILENT and log["outcome"] == "running"
            else "running"
        )
    elif isinstance(remains, dict) and "beat" in remains:
        status["state"], status["died"] = "died", remains
    else:
        status["state"] = "finished" if left == 0 else "stopped"
    return status


def _committed(run: RunDirectory, done: set[tuple[str, str]]) -> dict[str, int]:
    """Segments and frames of the plan, and how many of them have a receipt or belong to finished dubs."""
    counts = dict.fromkeys(("segments", "frames", "committed", "committed_frames"), 0)
    table = join(run.url, "plan.parquet")
    if not exists(table):
        return counts
    fs, receipts = filesystem(join(run.url, "receipts"))
    names = (
        [path.rsplit("/", 1)[-1].removesuffix(".json") for path in fs.find(receipts)]
        if fs.isdir(receipts)
        else []
    )
    fs, path = filesystem(table)
    with fs.open(path, "rb") as file:
        plan = pq.read_table(file, columns=["title", "dub", "name", "frames"])
    # A catalogue has hundreds of thousands of output segments: no loop over them here.
    dubs = pc.binary_join_element_wise(plan["title"], plan["dub"], "\0")
    ended = pc.is_in(dubs, pa.array([f"{title}\0{dub}" for title, dub in done], pa.string()))
    committed = pc.or_(ended, pc.is_in(plan["name"], pa.array(names, pa.string())))
    counts["segments"], counts["frames"] = plan.num_rows, pc.sum(plan["frames"]).as_py() or 0
    counts["committed"] = pc.sum(committed).as_py() or 0
    counts["committed_frames"] = pc.sum(pc.filter(plan["frames"], committed)).as_py() or 0
    return counts


def describe(url: str, status: dict[str, Any]) -> list[str]:
    """A status for people, line by line."""
    started = datetime.datetime.fromtimestamp(status["started"]).strftime("%Y-%m-%d %H:%M:%S")
    lock, log = status["running"] or status["died"], status["log"]
    who = f"process {lock['pid']} on {str(lock.get('machine', '?')).split()[0]}" if lock else ""
    words = {
        "running": f"running ({who})",
        "silent": f"running ({who}), but it has written nothing for {duration(log['age']) if log else '?'}: possibly hung",
        "died": f"DIED: {who} ended without a word, last seen {_ago(lock)}",
        "finished": "finished",
        "stopped": "not running",
    }
    lines = [
        f"{url}: {words[status['state']]}; engine {status['engine']}, profile {status['profile']}, started {started}"
    ]
    ended = f"{status['done']} done, {len(status['failed'])} failed, {status['left']} to go"
    lines.append(f"{count(status['dubs'], 'dub')} of {count(status['titles'], 'title')}: {ended}")
    if status["unlisted"]:
        dubs = count(status["unlisted"], "record")
        lines.append(f"left out: {dubs} of titles that are no longer in the manifest")
    live = status["state"] in ("running", "silent")
    if live and log is not None:
        at_work = max(0, log["planned_titles"] - log["ended"])
        assembling = f", {count(log['assembling'], 'dub')} being assembled" if log.get("assembling") else ""
        waiting = log["titles"] - log["ended"] - at_work
        lines.append(f"titles: {log['ended']} ended, {at_work} running, {waiting} waiting{assembling}")
    frames = f"{status['committed_frames']}/{status['frames']} frames"
    lines.append(f"segments planned: {status['segments']}, committed: {status['committed']} ({frames})")
    if log is not None:
        if not live and log["outcome"] == "ended" and not log["expected"] and not log["failed"]:
            lines.append("the last run: nothing was left to do")
            return lines
        eta = f", about {duration(log['eta'])} left" if live and log["eta"] is not None else ""
        now = f", {log['recent_fps']:.1f} in the last minute" if live else ""
        speed = f": {log['fps']:.1f} frames/s{now}{eta}" if log["done"] else ""
        name = "this run" if live else "the last run"
        lines.append(f"{name}: {log['done']}/{log['expected']} frames in {duration(log['elapsed'])}{speed}")
        lines += stage_lines(log)
        if live:
            lines += [
                slow_start(worker) for worker in log.get("starting", ()) if worker["seconds"] >= SLOW_START
            ]
    return lines


def _ago(lock: dict[str, Any] | None) -> str:
    return f"{duration(max(0.0, time.time() - float(lock['beat'])))} ago" if lock else "?"


def stage_lines(log: dict[str, Any]) -> list[str]:
    """A log's stages as a table."""
    rows = [["stage", "pool", "rows", "frames", "per frame", "busy", "at work", "errors"]]
    elapsed = max(1e-3, float(log["elapsed"]))
    for name, counted in log["stages"].items():
        each = short_time(counted["seconds"] / counted["frames"]) if counted["frames"] else "-"
        busy = f"{counted['seconds'] / elapsed:.2f} of {counted['most']}"
        rows.append(
            [
                name,
                counted["pool"],
                *(str(int(counted[k])) for k in ("rows", "frames")),
                each,
                busy,
                str(counted["running"]),
                str(counted["errors"]),
            ]
        )
    return table(rows)


def show_status(url: str, as_json: bool = False, watch: bool = False) -> int:
    """Print the state of a run, once or until it ends; exit code 3 if titles have failed.

    Args:
        url: the run directory.
        as_json: one JSON object on a line in place of text, for machines.
        watch: look again every few seconds until nobody works in the directory any more.
    """
    while True:
        status = read_status(url)
        if as_json:
            records = [record_json(record) for record in status["failed"]]
            print(json.dumps({**status, "failed": records}), flush=True)
        else:
            if watch and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            tell(redact("\n".join(describe(url, status))))
        if not watch or status["running"] is None:
            break
        time.sleep(WATCH_PERIOD)
    if not as_json:
        failed = [(label(record["title"], record["dub"]), record["error"]) for record in status["failed"]]
        for text in grouped(failed, "--json lists all"):
            tell(f"failed: {text}", sys.stderr)
        if status["left"] > 0 and not status["running"]:
            print("run the same `retalk run` again to resume")
    return FAILED if status["failed"] else DONE
