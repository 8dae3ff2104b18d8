"""The collector: counts a title's receipts as they come in, hands a dub to assembly as soon as it is
complete, and keeps the records.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.engine.rows import PLAN_ROW, Row
from pipelines.execution.assembly import UNWRITTEN, record_of, write_record
from pipelines.execution.plan_table import PlanTable
from pipelines.manifest.titles import Title
from pipelines.planning.plans import DubPlan, Receipt, TitlePlan, decode
from pipelines.state.packed_records import PackedRecords, SortedRecords
from pipelines.state.run_directory import OutputSegmentId, Record, RunDirectory

LOGGER = logging.getLogger("retalk")
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
        finish: called with a complete dub; returns at once or after the assembly, and calls `ended` with
            the record.
        plan: rows of the plan of titles that this run leaves alone (`earlier_plan`).
        told: called with the record of each dub that has ended, from any thread.
    """

    def __init__(
        self,
        run: RunDirectory,
        engine: str,
        titles: list[Title],
        finish: Callable[[DubPlan], None],
        plan: Sequence[dict[str, Any]] = (),
        told: Callable[[Record], None] | None = None,
    ) -> None:
        self.run, self.engine, self.finish, self.told = run, engine, finish, told
        self.titles = {title.id: title for title in titles}
        #: Dubs whose segments are awaited.
        self.waiting: dict[tuple[str, str], DubPlan] = {}
        self.records = PackedRecords()
        self._earlier = PackedRecords(_slim(record) for record in run.records())
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
        #: Titles with dubs that have ended, and dubs that have failed.
        self._ended_titles: set[str] = set()
        self._failed_dubs: set[tuple[str, str]] = set()
        #: Titles that are known to fail.
        self._hopeless = {title.id for title in titles if title.hopeless}
        self._early: dict[str, list[Row]] = {}
        self._plan = PlanTable(plan)
        self._plan_written = 0
        self._lock = threading.Lock()
        #: Why the record of a dub could not be written, by title and dub; the run goes on.
        self.unwritten: dict[tuple[str, str], str] = {}

    # --- rows -----------------------------------------------------------------------------------------------
    def take(self, row: Row) -> None:
        """A row from behind the last stage: a title's plan, a receipt or an error."""
        if row["kind"] == PLAN_ROW:
            self._title(decode(TitlePlan, row["meta"]))
            for early in self._early.pop(row["title"], []):
                self._segment(early)
        elif row["title"] in self.planned:
            self._segment(row)
        else:
            self._early.setdefault(row["title"], []).append(row)

    def _title(self, plan: TitlePlan) -> None:
        self.planned.add(self.titles[plan.title.id].id)
        self.frames_analysed += plan.frames_analysed
        for dub in plan.dubs:
            self._plan.add(dub)
            dub.traceback = plan.traceback
            dub.reused = len(dub.receipts)
            dub.note(*(note for receipt in dub.receipts for note in receipt.notes))
            if dub.state == "done":
                self._done_already(dub)
                continue
            self.waiting[dub.title, dub.dub.dub] = dub
            self.reused += dub.reused
            self.frames_planned += dub.frames_left
            if dub.state == "failed":
                self._fail(dub, dub.error)
            elif not dub.left:
                self._finish(dub)
        if len(self._plan) > self._plan_written * PLAN_GROWTH:
            self._written_later(self.write_plan)

    def _done_already(self, dub: DubPlan) -> None:
        record = self.run.read_record(dub.title, dub.dub.dub)
        if record is None:
            self.failed(dub, "its record was deleted or damaged while the run was at work; run again")
        else:
            self.already += 1
            self.ended({**record, "changed": []})  # what has changed was said when it was computed again

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
            for asked in self.titles[row["title"]].dubs:
                dub = self.waiting.get((row["title"], asked.dub))
                if dub is not None and row["dub"] in ("", asked.dub) and _waits(dub, row):
                    dub.traceback = meta.get("traceback", "")
                    self._fail(dub, row["error"])
            return
        self.computed += 1
        found = self.waiting.get((row["title"], row["dub"]))
        if found is not None:
            self._receive(found, row, meta)

    def _receive(self, dub: DubPlan, row: Row, meta: dict[str, Any]) -> None:
        """Count a committed output segment."""
        which = OutputSegmentId.of(row)
        planned = dub.left.get(which)
        if planned is None:
            return
        if row["frames"] != planned.frames:
            self._fail(
                dub,
                f"{row['path']}: {row['frames']} frames were encoded where {planned.frames} were planned",
            )
            return
        self.frames_done += planned.frames
        dub.commit(which, Receipt.of(row, metrics=meta.get("metrics", {})))
        for stage, seconds in meta.get("seconds", {}).items():
            dub.seconds[stage] = dub.seconds.get(stage, 0.0) + seconds
        dub.note(*meta.get("notes", []))
        if not dub.left:
            self._finish(dub)

    # --- ends -----------------------------------------------------------------------------------------------
    def _finish(self, dub: DubPlan) -> None:
        self.waiting.pop((dub.title, dub.dub.dub))
        self.assembling.add((dub.title, dub.dub.dub))
        self.finish(dub)

    def _fail(self, dub: DubPlan, error: str) -> None:
        if self.waiting.pop((dub.title, dub.dub.dub), None) is not None:
            self.frames_planned -= dub.frames_left  # what it will not do any more is not expected of the run
        self.failed(dub, error)

    def failed(self, dub: DubPlan, error: str) -> None:
        """Record that a dub has failed. May be called from any thread."""
        record = record_of(dub, self.engine, "failed", error)
        write_record(self.run, record)
        self.ended(record)

    def ended(self, record: Record) -> None:
        """Note how a dub ended. May be called from any thread."""
        if self.told is not None:
            self.told(record)
        with self._lock:
            if problem := record.pop(UNWRITTEN, ""):
                self.unwritten[record["title"], record["dub"]] = problem
            self.assembling.discard((record["title"], record["dub"]))
            self._keep(record)
            if time.monotonic() > self._ledger_due:
                began = time.monotonic()
                self._written_later(self.write_ledger)
                # A long ledger is written less often, so that writing it never takes more than a hundredth of
                # the time.
                self._ledger_due = time.monotonic() + max(LEDGER_PERIOD, 100 * (time.monotonic() - began))

    def _keep(self, record: Record) -> None:
        known = self.titles.get(record["title"])
        title = known.id if known else record["title"]  # the string that is in memory already
        key = (title, record["dub"])
        self.records.put({**_slim(record), "title": title})
        self._ended_titles.add(title)
        if record["state"] == "failed":
            self._failed_dubs.add(key)
        else:
            self._failed_dubs.discard(key)

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
                    known = self.waiting.get((title.id, dub.dub))
                    self._fail(known or DubPlan(title.id, title.video, dub), error)

    def state(self) -> dict[str, Any]:
        """Counts for the progress display; may be called from any thread."""
        with self._lock:
            ended, failed = len(self._ended_titles), len({title for title, _ in self._failed_dubs})
            assembling = len(self.assembling)
        return {
            "titles": len(self.titles),
            "planned_titles": len(self.planned),
            "hopeless": len(self._hopeless - self.planned),
            "ended": ended,
            "failed": failed,
            "planned": self.frames_planned,
            "analysed": self.frames_analysed,
            "done": self.frames_done,
            "assembling": assembling,
        }

    def write_ledger(self) -> None:
        """Write the ledger: this run's records and earlier ones of the same directory."""
        self.run.write_ledger(SortedRecords(self._earlier, self.records))

    def write_plan(self) -> None:
        """Write ``plan.parquet``."""
        self._plan_written = len(self._plan)
        self._plan.write(self.run)


def _slim(record: Record) -> Record:
    """A record as it is held in memory: without what its key was made of, most of it by far, which its file has."""
    return {name: value for name, value in record.items() if name != "ingredients"}


def _waits(dub: DubPlan, row: Row) -> bool:
    """True if the dub cannot be made without the row."""
    return bool(row["dub"]) or any(which.segment == row["segment"] for which in dub.left)
