"""The collector: counts a title's receipts as they come in, hands a dub to assembly as soon as it is
complete, and keeps the records.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.storage.files import exists, filesystem, join
from pipelines.engine.rows import PLAN_ROW, Row
from pipelines.execution.assembly import UNWRITTEN, DubJob, write_record
from pipelines.manifest.titles import Title
from pipelines.state.run_directory import OutputSegmentId, Record, RunDirectory, write_table

LOGGER = logging.getLogger("retalk")
#: One row per output segment of the plan, for `retalk status` and for people.
PLAN_TABLE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("title", "dub", "name")),
        *(pa.field(name, pa.int64()) for name in ("segment", "output_segment", "out_start", "frames")),
        pa.field("committed", pa.bool_()),
    ]
)
#: The plan is written again when it has grown by this factor: few writes, and a reader sees most of it.
PLAN_GROWTH = 1.5
#: Seconds between two writings of the ledger while a run lasts, at least.
LEDGER_PERIOD = 30.0


class Collector:
    """State of a run on the driver's side. `take` is called with each row that leaves the graph, from one
    thread.

    Args:
        run: the run directory.
        engine: the engine's name, for the records.
        titles: all titles of the run.
        finish: called with a complete `DubJob`; returns at once or after the assembly, and calls `ended` with
            the record.
        plan: rows of the plan of titles that this run leaves alone (`earlier_plan`).
        metrics: places of the metrics that dubs are measured by.
    """

    def __init__(
        self,
        run: RunDirectory,
        engine: str,
        titles: list[Title],
        finish: Callable[[DubJob], None],
        plan: Sequence[dict[str, Any]] = (),
        metrics: Sequence[str] = (),
    ) -> None:
        self.run, self.engine, self.finish = run, engine, finish
        self.metrics = list(metrics)
        self.titles = {title.id: title for title in titles}
        self.jobs: dict[tuple[str, str], DubJob] = {}
        self.records: dict[tuple[str, str], Record] = {}
        self.ledger = {(record["title"], record["dub"]): record for record in run.records()}
        self._ledger_due = time.monotonic() + LEDGER_PERIOD
        self.planned: set[str] = set()
        self.computed = 0
        self.reused = 0
        #: Dubs that an earlier run had finished, and dubs that have been handed to assembly.
        self.already = 0
        self.assembling: set[tuple[str, str]] = set()
        #: Frames of the run's dubs, and of the source that is analysed for them, as far as they are not
        #: committed.
        self.frames_planned = 0
        self.frames_analysed = 0
        self.frames_done = 0
        #: Titles that are known to fail.
        self._hopeless = {title.id for title in titles if title.error or all(dub.error for dub in title.dubs)}
        self._early: dict[str, list[Row]] = {}
        self._plan: list[dict[str, Any]] = list(plan)
        self._plan_written = 0
        self._lock = threading.Lock()
        #: Why the record of a dub could not be written, by title and dub; the run goes on.
        self.unwritten: dict[tuple[str, str], str] = {}

    # --- rows -----------------------------------------------------------------------------------------------
    def take(self, row: Row) -> None:
        """A row from behind the last stage: a title's mark, a receipt or an error."""
        if row["kind"] == PLAN_ROW:
            self._mark(row)
            for early in self._early.pop(row["title"], []):
                self._segment(early)
        elif row["title"] in self.planned:
            self._segment(row)
        else:
            self._early.setdefault(row["title"], []).append(row)

    def _mark(self, row: Row) -> None:
        mark = json.loads(row["meta"])
        self.planned.add(row["title"])
        self.frames_analysed += _analysed(mark)
        for plan in mark["dubs"]:
            dub = plan["dub"]
            job = DubJob(
                run=self.run.url,
                title=row["title"],
                video=mark["title"]["video"],
                dub=dub,
                key=plan["key"],
                engine=self.engine,
                output_segments={OutputSegmentId.of(one): one["frames"] for one in plan["output_segments"]},
                notes=plan["notes"],
                ingredients=plan["ingredients"],
                changed=plan["changed"],
                frames=plan["frames"],
                video_seconds=plan["video_seconds"],
                receipts={
                    OutputSegmentId.of(one): one["receipt"]
                    for one in plan["output_segments"]
                    if one["receipt"]
                },
                trace=mark["traceback"],
                metrics=self.metrics,
            )
            job.reused = len(job.receipts)
            kept = dict.fromkeys(
                note for receipt in job.receipts.values() for note in receipt.get("notes", [])
            )
            job.notes += [note for note in kept if note not in job.notes]
            self._plan += [
                {
                    "title": row["title"],
                    "dub": dub["dub"],
                    "name": OutputSegmentId.of(output_segment).name,
                    **{k: output_segment[k] for k in ("segment", "output_segment", "out_start", "frames")},
                    "committed": bool(output_segment["receipt"]),
                }
                for output_segment in plan["output_segments"]
            ]
            if plan["state"] == "done":
                record = self.run.read_record(row["title"], dub["dub"])
                if record is None:
                    self.failed(job, "its record was deleted or damaged while the run was at work; run again")
                else:
                    self.already += 1
                    self.ended(
                        {**record, "changed": []}
                    )  # what has changed was said when it was computed again
                continue
            self.jobs[row["title"], dub["dub"]] = job
            self.reused += job.reused
            self.frames_planned += sum(
                frames for name, frames in job.output_segments.items() if name not in job.receipts
            )
            if plan["state"] == "failed":
                self._fail(job, plan["error"])
            elif job.complete:
                self._finish(job)
        if len(self._plan) > self._plan_written * PLAN_GROWTH:
            self._written_later(self.write_plan)

    def _written_later(self, write: Callable[[], None]) -> None:
        """Write what is written again at the end of the run: a failure now is no reason to stop."""
        try:
            write()
        except OSError as problem:
            LOGGER.warning("%s: the plan or the ledger cannot be written yet (%s)", self.run.url, problem)

    def _segment(self, row: Row) -> None:
        meta = json.loads(row["meta"]) if row["meta"] else {}
        if row["error"]:
            # Errors from before the fan-out concern every dub of the title that waits for this segment.
            for dub in self.titles[row["title"]].dubs:
                job = self.jobs.get((row["title"], dub.dub))
                if job is not None and row["dub"] in ("", dub.dub) and self._waits(job, row):
                    job.trace = meta.get("traceback", "")
                    self._fail(job, row["error"])
            return
        self.computed += 1
        found = self.jobs.get((row["title"], row["dub"]))
        if found is not None:
            self._receive(found, row, meta)

    def _receive(self, job: DubJob, row: Row, meta: dict[str, Any]) -> None:
        """Count a committed segment."""
        which = OutputSegmentId.of(row)
        if which in job.output_segments and which not in job.receipts:
            if row["frames"] != job.output_segments[which]:
                self._fail(
                    job,
                    f"{row['path']}: {row['frames']} frames were encoded where {job.output_segments[which]} were planned",
                )
                return
            self.frames_done += job.output_segments[which]
            job.receipts[which] = {k: row[k] for k in ("path", "sha256", "frames", "bytes")}
            job.receipts[which]["metrics"] = meta.get("metrics", {})
            for stage, seconds in meta.get("seconds", {}).items():
                job.seconds[stage] = job.seconds.get(stage, 0.0) + seconds
            job.notes += [note for note in meta.get("notes", []) if note not in job.notes]
            if job.complete:
                self._finish(job)

    def _waits(self, job: DubJob, row: Row) -> bool:
        if row["dub"]:
            return True
        return any(
            which.segment == row["segment"] and which not in job.receipts for which in job.output_segments
        )

    # --- ends -----------------------------------------------------------------------------------------------
    def _finish(self, job: DubJob) -> None:
        self.jobs.pop((job.title, job.dub["dub"]))
        self.assembling.add((job.title, job.dub["dub"]))
        self.finish(job)

    def _fail(self, job: DubJob, error: str) -> None:
        if self.jobs.pop((job.title, job.dub["dub"]), None) is not None:
            # What it will not do any more is not expected of the run.
            self.frames_planned -= sum(
                frames for name, frames in job.output_segments.items() if name not in job.receipts
            )
        self.failed(job, error)

    def failed(self, job: DubJob, error: str) -> None:
        """Record that a dub has failed. May be called from any thread."""
        record = job.record("failed", error)
        write_record(self.run, record)
        self.ended(record)

    def ended(self, record: Record) -> None:
        """Note how a dub ended. May be called from any thread."""
        with self._lock:
            if problem := record.pop(UNWRITTEN, ""):
                self.unwritten[record["title"], record["dub"]] = problem
            self.assembling.discard((record["title"], record["dub"]))
            self.records[record["title"], record["dub"]] = self.ledger[record["title"], record["dub"]] = (
                record
            )
            if time.monotonic() > self._ledger_due:
                began = time.monotonic()
                self._written_later(self.write_ledger)
                # A long ledger is written less often, so that writing it never takes more than a fiftieth of
                # the time.
                self._ledger_due = time.monotonic() + max(LEDGER_PERIOD, 50 * (time.monotonic() - began))

    def abort(self, error: str) -> None:
        """Give up on what has not ended: it is in the ledger as failed, and a later run takes it up where it
        stands.
        """
        for title in self.titles.values():
            for dub in title.dubs:
                if (title.id, dub.dub) in self.records:
                    continue
                earlier = self.run.read_record(title.id, dub.dub)
                if earlier is not None and earlier["state"] == "done":
                    self.ended(earlier)
                else:
                    job = self.jobs.get((title.id, dub.dub)) or DubJob(
                        self.run.url, title.id, title.video, vars(dub), "", self.engine, {}, [], 0, 0.0
                    )
                    self._fail(job, error)

    def state(self) -> dict[str, Any]:
        """Counts for the progress display; may be called from any thread."""
        with self._lock:
            records = list(self.records.values())
            assembling = len(self.assembling)
        return {
            "titles": len(self.titles),
            "planned_titles": len(self.planned),
            "hopeless": len(self._hopeless - self.planned),
            "ended": len({record["title"] for record in records}),
            "failed": len({record["title"] for record in records if record["state"] == "failed"}),
            "planned": self.frames_planned,
            "analysed": self.frames_analysed,
            "done": self.frames_done,
            "assembling": assembling,
        }

    def write_ledger(self) -> None:
        """Write the ledger: this run's records and earlier ones of the same directory."""
        self.run.write_ledger([self.ledger[key] for key in sorted(self.ledger)])

    def write_plan(self) -> None:
        """Write ``plan.parquet``."""
        self._plan_written = len(self._plan)
        write_table(join(self.run.url, "plan.parquet"), pa.Table.from_pylist(self._plan, schema=PLAN_TABLE))


def _analysed(mark: dict[str, Any]) -> int:
    """Source frames that the stages before the dubs part will look at for a title, about: those of the dub
    with the most work left.
    """
    left = [
        sum(
            output_segment["frames"]
            for output_segment in plan["output_segments"]
            if not output_segment["receipt"]
        )
        for plan in mark["dubs"]
        if plan["state"] == "run"
    ]
    return min(int(mark.get("frames", 0)), max(left, default=0))


def earlier_plan(run: RunDirectory, titles: Collection[str]) -> list[dict[str, Any]]:
    """Rows of a run directory's ``plan.parquet`` for these titles; none where the file is missing or damaged."""
    url = join(run.url, "plan.parquet")
    if not exists(url):
        return []
    fs, path = filesystem(url)
    try:
        with fs.open(path, "rb") as file:
            rows = pq.read_table(file, schema=PLAN_TABLE).to_pylist()
    except pa.ArrowInvalid:
        return []
    return [row for row in rows if row["title"] in titles]
