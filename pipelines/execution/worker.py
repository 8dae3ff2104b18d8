"""The adapter: a group of stages as one callable that turns rows into rows. The same object works in a Ray
actor and in a plain loop.

For each row it runs the stages in order, checks their columns, measures their seconds, turns exceptions into
the row's `error`, fans out before the first stage that runs once per dub, keeps only columns that a later
stage reads, and commits the receipt behind the last stage.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

import pyarrow as pa

from operators.columns import check_columns, tensor_spec
from operators.evaluation.metric import Meter, SegmentMetric
from operators.media.codec_names import Encoding
from operators.segment import PLAN, Segment
from operators.shared_batches import row_seconds
from operators.stage import Stage, unheard
from operators.storage.looks import one_look_per_file
from operators.threads import single_thread
from operators.watermark.keyring import hold
from operators.watermark.keys import MarkKey
from pipelines.engine.engine import FINAL, RECEIPT, Engine
from pipelines.engine.metrics import load_metrics
from pipelines.engine.rows import SEGMENT, Row, empty_row, from_table, to_table
from pipelines.engine.specs import GroupSpec
from pipelines.execution.batching import (
    ALONE,
    BatchingPolicy,
    frames_of,
    unpack,
)
from pipelines.execution.concurrent_rows import Part, Sized, concurrently, finished
from pipelines.planning.fanout import fan_out
from pipelines.state.analysis_cache import AnalysisCache
from pipelines.state.coordinator import MAX_ATTEMPTS, CoordinatorProtocol, WorkKey, noted_reads
from pipelines.state.run_directory import REJECTED_STATE, OutputSegmentId, RunDirectory, sha256_file

#: Seconds between two notes of how far a stage is in a row.
TICK_PERIOD = 0.5


def hide_gpus(device: str, isolated: bool) -> None:
    """Hide the GPUs from a worker that has none: it would see all of them, since Ray leaves
    CUDA_VISIBLE_DEVICES unset.
    """
    if device == "cpu" and isolated:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


class Ticker:
    """Tells the coordinator how far a stage is in a row, now and then.

    Args:
        coordinator: what is told.
        stage: its name.
        share: frames of the row for each that the stage counts: it works on the halo too.
    """

    def __init__(self, coordinator: CoordinatorProtocol, stage: str, share: float) -> None:
        self._coordinator, self._stage, self._share = coordinator, stage, share
        self._waiting, self._told, self._when = 0, 0.0, time.monotonic()
        coordinator.stage_begun(stage)

    def __call__(self, frames: int) -> None:
        """Count frames."""
        self._waiting += frames
        if time.monotonic() - self._when > TICK_PERIOD:
            more = self._waiting * self._share
            self._waiting, self._told, self._when = 0, self._told + more, time.monotonic()
            self._coordinator.stage_at(self._stage, more)

    def end(self) -> None:
        """Take back what was told: the row is counted as a whole."""
        if self._told:
            self._coordinator.stage_at(self._stage, -self._told)


def prepare(spec: GroupSpec) -> None:
    """Give this process the devices and the watermark's key that its stages are to have."""
    hide_gpus(spec.device, spec.isolated)
    if spec.mark_secret:
        hold(MarkKey(spec.mark_secret))


class Group:
    """Stages that run one after the other in one worker.

    Args:
        spec: the stages and their device.
        coordinator: attempts and counters.
        policy: frames of resulting rows that go together in a block, and of rows that are worked on at a time.

    Raises:
        Exception: any error of a stage's `setup`.
    """

    def __init__(
        self, spec: GroupSpec, coordinator: CoordinatorProtocol, policy: BatchingPolicy = ALONE
    ) -> None:
        self.policy = policy
        prepare(spec)
        self.engine, self.spec, self.coordinator = Engine(spec.engine), spec, coordinator
        self.run = RunDirectory(spec.run)
        self.cache = AnalysisCache(spec.cache, self.engine, coordinator) if spec.cache is not None else None
        self.first = self.engine.names.index(spec.stages[0])
        self.stages = [
            stage.stage for stage in self.engine.stages[self.first : self.first + len(spec.stages)]
        ]
        assert [stage.name for stage in self.stages] == list(spec.stages), (spec.stages, self.engine.names)
        self.after = self.first + len(self.stages)
        self.last = self.after == len(self.engine.stages)
        self.input, self.output = self.engine.edges[self.first], self.engine.edges[self.after]
        for stage in self.stages:
            stage.setup(spec.device)
        metrics, self._unmeasured = load_metrics(self.engine.config.metrics or () if self.last else ())
        self._metrics = [metric for metric in metrics if isinstance(metric, SegmentMetric)]
        single_thread()
        self._counted, self._together, self._concurrent = True, False, False
        self._segments = self.engine.segments_together(spec.stages, spec.device)

    @property
    def name(self) -> str:
        return "+".join(self.spec.stages)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Run packed rows (`batching.pack`) and yield the resulting ones as they come, packed."""
        rows = unpack(table, self.input)
        together = rows.num_rows > 1
        batch = self._key(from_table(rows, self.input), "batch")
        # Asking the coordinator for each of many short rows takes longer than they do. Only when a batch has
        # killed its worker are they counted one by one, to find the one that does it.
        self._counted = not together or self.coordinator.begin(batch) > 1
        self._together = together
        batcher = self.policy.batcher(self.output, rows.num_rows, self.spec.block_segments)
        # Those that are counted are worked on one after the other: one of them kills its worker.
        self._concurrent = together and self._segments > 1 and not self._counted
        for result, size in self._results(from_table(rows, self.input, n) for n in range(rows.num_rows)):
            yield from batcher.add(result, *size)
        if together:
            self.coordinator.end(batch)
        yield from batcher.rest()

    def _key(self, row: Row, unit: Literal["row", "batch", "row in batch"]) -> WorkKey:
        """Identify a row, or the batch that begins with it, to the coordinator."""
        segment = row["segment"] if row["kind"] == SEGMENT else None
        output_segment = row.get("output_segment")
        return WorkKey(self.spec.stages, row["title"], segment, row.get("dub", ""), output_segment, unit)

    def _results(self, rows: Iterable[Row]) -> Iterator[Sized]:
        """Rows that rows become, in order."""
        if not self._concurrent:
            return ((result, frames_of(row)) for row in rows for result in self.process(row))
        between = self.first < self.engine.fan_out < self.after
        return concurrently(self._step, rows, self.first, between, self._segments * self.policy.frames)

    def process(self, row: Row) -> Iterator[Row]:
        """Run one row; yields one row, or one for each dub and output segment where the fan-out is in this
        group.

        Errored rows, titles' plans and heartbeats pass untouched.
        """
        return finished(self._step, (row, self.first))

    def _step(self, row: Row, position: int) -> Iterator[Part]:
        """Run this group's stages from `position` on, up to the fan-out or the end, unless the row has killed its
        worker too often.

        Behind the fan-out each part is guarded for itself: one that kills its worker leaves the other dubs
            alone.
        """
        if position == self.first and (row["error"] or row["kind"] != SEGMENT):
            yield empty_row(self.output, row), None
            return
        # Another worker may have committed it and died, or been cut off, before its row was seen.
        if (
            self.last
            and "target" in row
            and (kept := _committed(self.run, row, row["target"], len(row["source"]))) is not None
        ):
            yield kept, None
            return
        key = self._key(row, "row in batch" if self._together else "row")
        attempts = self.coordinator.begin(key) if self._counted else 1
        if attempts > MAX_ATTEMPTS:
            row = {**row, "error": f"{self.name}: {self._death(row, key)}"}
        yield from self._rest(row, position, key, noted_reads(self.coordinator, key, attempts))

    def _death(self, row: Row, key: WorkKey) -> str:
        """Say what a row did to its workers, and which file they were reading."""
        url = self.coordinator.last_read(key)
        reading = f" while it was reading {url}" if url else ""
        frames = f"frames {row['start']} to {row['stop']} of {row['video']}"
        return (
            f"the worker died {MAX_ATTEMPTS} times in a row on this segment ({frames}){reading}; "
            f"{'is that file damaged? See' if url else 'see'} Ray's worker logs"
        )

    def _rest(
        self, row: Row, position: int, key: WorkKey, noted: Callable[[], AbstractContextManager[None]]
    ) -> Iterator[Part]:
        """`_step`, once it is clear that the row may be run."""
        for index in range(position, self.after + 1):
            if index == self.engine.fan_out and "dubs" in row:
                if self._counted:
                    self.coordinator.end(key)
                for part in fan_out(row):
                    yield (self._finish(part), None) if index == self.after else (part, index)
                return
            if index < self.after and not row["error"]:
                with noted(), one_look_per_file():
                    row = self._stage(row, index)
        if self._counted:
            self.coordinator.end(key)
        yield self._finish(row), None

    def _stage(self, row: Row, index: int) -> Row:
        """One stage on one row: its columns added and those dropped that no later stage reads, or the error
        set.
        """
        stage = self.stages[index - self.first]
        if self._concurrent:
            stage = copy.copy(stage)  # what is set on it below is this row's
        segment, start = Segment(row), row_seconds()
        start_frame, stop_frame = segment.frames
        core = segment.core[1] - segment.core[0]
        sizes = {"T": stop_frame - start_frame, "C": core, "N": len(row["source"]) if "source" in row else -1}
        keep = self.engine.edges[index + 1]
        meta = json.loads(row["meta"]) if row["meta"] else {}
        error, notes = "", meta.get("notes", [])
        ticker = Ticker(
            self.coordinator,
            stage.name,
            1.0 if stage.per == "dub" else core / max(1, stop_frame - start_frame),
        )
        stage.tick = ticker
        measured = index + 1 == len(self.engine.stages) and bool(self.engine.config.metrics)
        meter = Meter(self._metrics, segment, watch=True) if measured else None
        if meter is not None:
            stage.observe = meter.frame
        try:
            others: tuple[Row, ...] = row.get("others", ()) if index + 1 < len(self.engine.stages) else ()
            row = {**row, "others": ()} if others else row
            columns = _computed(stage, index, row, segment, sizes, self.cache)
            if meter is not None:
                meta["metrics"] = {**meter.result(), **_encoder(stage.options_for(segment))}
                if segment.speaker:
                    meta["metrics"]["speaker"] = segment.speaker
                segment.notes.extend((*self._unmeasured, *meter.notes))
            stage.tick = unheard
            made = []
            for other in others:
                seen = Segment(other)
                made.append(_kept(other, _computed(stage, index, other, seen, sizes, self.cache), keep))
                segment.notes.extend(seen.notes)
            row = {**_kept(row, columns, keep), "others": tuple(made)}
        except Exception as problem:
            error = (
                f"{stage.name}: {problem}"
                if isinstance(problem, ValueError)
                else f"{stage.name}: {type(problem).__name__}: {problem}"
            )
            meta.update(failed=stage.name, traceback=traceback.format_exc(limit=-8))
            row = {
                **empty_row(keep, row),
                **{name: row[name] for name in ("dubs",) if name in row},
                "error": error,
                "others": (),
            }
        finally:
            # The stage lives on, and the row's frames would with it.
            stage.tick = stage.observe = unheard
        seconds = row_seconds() - start
        ticker.end()
        notes += [note for note in segment.notes if note not in notes]
        if notes:
            meta["notes"] = notes
        meta.setdefault("seconds", {})[stage.name] = round(seconds, 4)
        self.coordinator.stage_done(
            stage.name, sizes["N"] if stage.per == "dub" else row["stop"] - row["start"], seconds, bool(error)
        )
        return {**row, "meta": json.dumps(meta)}

    def _finish(self, row: Row) -> Row:
        """A row as it leaves the group; behind the last stage its receipt is committed."""
        if self.last:
            if not row["error"]:
                row = self._commit(row)
            return empty_row(FINAL, row)
        if row["error"]:
            tensors = {field.name for field in self.output if tensor_spec(field) is not None}
            return empty_row(self.output, {name: value for name, value in row.items() if name not in tensors})
        return {name: row[name] for name in self.output.names}

    def _commit(self, row: Row) -> Row:
        """Write the receipt right after the last stage: what is written is not computed again.

        Another worker may have committed the same output segment meanwhile (Ray gave it away when this one
        seemed lost), on a processor that rounds otherwise: its file and receipt are kept as they are.
        """
        if (kept := _committed(self.run, row, row["path"], int(row["frames"]))) is not None:
            return kept
        receipt: dict[str, Any] = {
            name: row[name] for name in ("title", *OutputSegmentId._fields, *RECEIPT.names)
        }
        receipt["frames"], receipt["bytes"] = int(receipt["frames"]), int(receipt["bytes"])
        meta = json.loads(row["meta"])
        receipt["seconds"] = meta.get("seconds", {})
        if meta.get("metrics"):
            receipt["metrics"] = meta["metrics"]
        if notes := [note for note in meta.get("notes", []) if not note.startswith(REJECTED_STATE)]:
            receipt["notes"] = notes  # a run that resumes from here shows them too
        try:
            self.run.write_receipt(receipt)
        except OSError as problem:
            return {
                **row,
                "error": f"receipt: {problem}; check that the run directory {self.run.url} can be written",
            }
        return row


def _committed(run: RunDirectory, row: Row, path: str, frames: int) -> Row | None:
    """Return the final row of an output segment that another worker has committed, None for none."""
    try:
        receipt = run.read_receipt(row["title"], OutputSegmentId.of(row))
        if receipt is None or receipt["frames"] != frames or sha256_file(path) != receipt["sha256"]:
            return None
    except OSError:
        return None  # a problem of the run directory is reported when the output segment is committed
    # Older receipts do not tell of marks.
    values = {**{name: receipt.get(name, 0.0) for name in RECEIPT.names}, "path": path}
    return empty_row(
        FINAL,
        {
            **row,
            **values,
            "meta": json.dumps(
                {
                    "seconds": receipt.get("seconds", {}),
                    "notes": receipt.get("notes", []),
                    "metrics": receipt.get("metrics", {}),
                }
            ),
        },
    )


def _computed(
    stage: Stage,
    index: int,
    row: Row,
    segment: Segment,
    sizes: Mapping[str, int],
    cache: AnalysisCache | None,
) -> dict[str, Any]:
    """A stage's columns for one person of a row, from the analysis cache or computed."""
    if stage.per != "segment" or not len(stage.writes):
        cache = None
    kept = cache.load(index, row, segment.notes) if cache is not None else None
    columns = stage.process(segment) if kept is None else kept
    check_columns(stage.name, stage.writes, columns, sizes)
    # A value that Arrow refuses is this stage's error, not the worker's end.
    to_table(columns, stage.writes)
    if cache is not None and kept is None:
        cache.save(index, row, columns, segment.notes)
    return columns


def _kept(row: Row, columns: Mapping[str, Any], keep: pa.Schema) -> Row:
    """A row with a stage's columns, without those that no later stage reads."""
    names = {*keep.names, *PLAN.names, "dub"}
    return {name: value for name, value in {**row, **columns}.items() if name in names}


def _encoder(options: Any) -> dict[str, Any]:
    """Settings of a stage's encoder for its receipt, if it has them: with them other frames can be joined."""
    if not isinstance(options, Encoding):
        return {}
    return {"encoder": {field.name: getattr(options, field.name) for field in dataclasses.fields(Encoding)}}
