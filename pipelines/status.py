"""`retalk status`: how a run stands, from its run directory alone, live and after the fact."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any

import pyarrow.parquet as pq

from operators.media.storage import exists, filesystem, join
from pipelines.config import UsageError
from pipelines.lock import holder
from pipelines.progress import duration
from pipelines.state import RunDirectory, read_json

DONE, FAILED = 0, 3


def read_status(url: str) -> dict[str, Any]:
    """Counts of a run.

    Returns:
        ``running`` (the lock's content or None), ``started`` (seconds since the epoch), ``titles``, ``dubs`` (of the manifest), ``done``,
        ``failed`` (records), ``segments`` and ``frames`` (planned so far), ``committed`` and ``committed_frames`` (of these, receipts or
        done).

    Raises:
        UsageError: the directory holds no run.
    """
    run = RunDirectory(url)
    about = read_json(join(run.url, "run.json"))
    if not isinstance(about, dict):
        raise UsageError(f"{url}: holds no run (no run.json)")
    records = run.records()
    done = {(record["title"], record["dub"]) for record in records if record["state"] == "done"}
    status: dict[str, Any] = {
        "running": holder(run.url),
        **{name: about[name] for name in ("started", "titles", "dubs", "engine", "profile")},
        "done": len(done),
        "failed": [record for record in records if record["state"] == "failed"],
        **dict.fromkeys(("segments", "frames", "committed", "committed_frames"), 0),
    }
    fs, receipts = filesystem(join(run.url, "receipts"))
    names = {path.rsplit("/", 1)[-1].removesuffix(".json") for path in fs.find(receipts)} if fs.isdir(receipts) else set()
    table = join(run.url, "plan.parquet")
    if exists(table):
        fs, path = filesystem(table)
        with fs.open(path, "rb") as file:
            for piece in pq.read_table(file).to_pylist():
                committed = (piece["title"], piece["dub"]) in done or piece["name"] in names
                status["segments"] += 1
                status["frames"] += piece["frames"]
                status["committed"] += committed
                status["committed_frames"] += piece["frames"] * committed
    return status


def show_status(url: str) -> int:
    """Print how a run stands; exit code 3 if titles have failed."""
    status = read_status(url)
    started = datetime.datetime.fromtimestamp(status["started"]).strftime("%Y-%m-%d %H:%M:%S")
    running = status["running"]
    left = status["dubs"] - status["done"] - len(status["failed"])
    state = (
        f"running (process {running['pid']} on {running['machine'].split()[0]})" if running else "finished" if left <= 0 else "not running"
    )
    print(f"{url}: {state}; engine {status['engine']}, profile {status['profile']}, started {started}")
    print(f"dubs: {status['dubs']} of {status['titles']} titles: {status['done']} done, {len(status['failed'])} failed, {left} to go")
    print(
        f"segments planned: {status['segments']}, committed: {status['committed']} ({status['committed_frames']}/{status['frames']} frames)"
    )
    if running and status["committed_frames"]:
        elapsed = time.time() - status["started"]
        fps = status["committed_frames"] / elapsed
        print(f"{fps:.1f} frames/s, about {duration((status['frames'] - status['committed_frames']) / fps)} left for what is planned")
    for record in status["failed"]:
        print(f"failed: {record['title']} [{record['dub']}]: {record['error']}", file=sys.stderr)
    if left > 0 and not running:
        print("run the same `retalk run` again: it goes on where it stood")
    return FAILED if status["failed"] else DONE
