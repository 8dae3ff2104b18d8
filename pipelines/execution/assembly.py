"""From committed segments to a finished output with its record: one task a dub, in a Ray task or in the same
process.
"""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass, field
from typing import Any

from operators.evaluation.metric import FinishedDub
from operators.media.assemble import assemble
from operators.media.concat import HeadersDifferError
from operators.storage.files import filesystem
from operators.storage.redact import redact_all
from pipelines.execution.measuring import measure_dub
from pipelines.manifest.titles import Dub
from pipelines.state.content_keys import output_key
from pipelines.state.outputs import making
from pipelines.state.run_directory import OutputSegmentId, Record, RunDirectory, sha256_file

#: Entry of a record in memory that says why it could not be written.
UNWRITTEN = "unwritten"


@dataclass
class DubJob:
    """State of one dub while its segments arrive. Plain data: it is sent to the assembly task.

    `output_segments` are the frames of each output segment by name, in output order; `receipts` those that
    are committed, by name; `reused` of them by an earlier run. `metrics` are the places of the metrics' classes,
    `measured` what they have given.
    """

    run: str
    title: str
    video: str
    dub: dict[str, Any]
    key: str
    engine: str
    output_segments: dict[OutputSegmentId, int]
    notes: list[str]
    frames: int
    video_seconds: float
    receipts: dict[OutputSegmentId, dict[str, Any]] = field(default_factory=dict)
    reused: int = 0
    error: str = ""
    trace: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    ingredients: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    measured: list[dict[str, Any]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.error and len(self.receipts) == len(self.output_segments)

    def record(self, state: str, error: str = "", size: int = 0) -> Record:
        """The record of how this dub ended."""
        dub = Dub(**self.dub)
        record: Record = {
            "title": self.title,
            "dub": dub.dub,
            "state": state,
            "error": error,
            "video": self.video,
            "speech": dub.speech,
            "output": dub.output,
            "language": dub.language,
            "engine": self.engine,
            "key": output_key(self.key, dub),
            "frames": self.frames,
            "segments": len(self.output_segments),
            "reused": self.reused,
            "bytes": sum(int(receipt["bytes"]) for receipt in self.receipts.values()),
            "size": size,
            "seconds": round(sum(self.seconds.values()), 3),
            "video_seconds": round(self.video_seconds, 3),
            "stage_seconds": json.dumps({name: round(value, 3) for name, value in self.seconds.items()}),
            "metrics": self.measured,
            "notes": self.notes,
            "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "traceback": self.trace,
            "ingredients": self.ingredients,
            "changed": self.changed,
        }
        # What is written down and shown has no secrets of URLs in it; the key was made with them.
        return {name: redact_all(value) for name, value in record.items()}


def assemble_dub(job: DubJob, keep_segments: bool = False) -> Record:
    """Check the segments against their receipts, put them together, record it, and only then delete the
    segments.

    Killed anywhere in between, the next run finds either the receipts (and assembles them again) or the
    record.

    Returns:
        The record: ``done``, or ``failed`` with the reason. It is written already, if it can be.
    """
    run, dub, began = RunDirectory(job.run), Dub(**job.dub), time.perf_counter()
    paths = [job.receipts[which]["path"] for which in job.output_segments]
    try:
        for which, path in zip(job.output_segments, paths):
            digest = sha256_file(path)
            if digest != job.receipts[which]["sha256"] and not _replaced(run, job, which, digest):
                run.forget(job.title, [which])
                raise ValueError(
                    f"{path}: the encoded segment is gone or damaged; run again: it is computed anew"
                )
        with making(run, job.title, dub.dub, dub.output):
            job.notes += assemble(
                dub.output,
                paths,
                job.video,
                dub.speech,
                audio=dub.audio,
                language=dub.language or None,
                loudness=dub.loudness,
            )
        fs, path = filesystem(dub.output)
        job.seconds["assemble"] = time.perf_counter() - began
        _measure(job, dub)
        record = job.record("done", size=int(fs.size(path)))
    except Exception as problem:
        if isinstance(problem, HeadersDifferError):
            # Nodes or runs had other versions of the encoder: no later run could join these segments either.
            run.forget(job.title, job.output_segments)
            problem = ValueError(f"{problem}; run again: its segments are encoded anew")
        text = (
            str(problem)
            if isinstance(problem, ValueError)
            else f"assemble: {type(problem).__name__}: {problem}"
        )
        record = job.record("failed", text)
        write_record(run, record)
        return record
    if write_record(run, record) and not keep_segments:
        run.forget(job.title, job.output_segments)
    return record


def _measure(job: DubJob, dub: Dub) -> None:
    """Measure a dub whose output is written."""
    finished = FinishedDub(job.video, dub.speech, dub.output, dub.language, job.frames, job.video_seconds)
    of_segments = [job.receipts[which].get("metrics") or {} for which in job.output_segments]
    job.measured, notes = measure_dub(job.metrics, of_segments, finished)
    job.notes += [note for note in notes if note not in job.notes]


def _replaced(run: RunDirectory, job: DubJob, which: OutputSegmentId, digest: str | None) -> bool:
    """True where a segment is not what its worker has told, but what the receipt on disk says.

    Two workers have made it: on processors that round otherwise their files differ, and either is right.
    """
    receipt = run.read_receipt(job.title, which)
    if (
        receipt is None
        or digest is None
        or receipt.get("sha256") != digest
        or receipt.get("frames") != job.output_segments[which]
    ):
        return False
    job.receipts[which] = {**job.receipts[which], "sha256": digest, "bytes": receipt["bytes"]}
    return True


def write_record(run: RunDirectory, record: Record) -> bool:
    """Write a record down. Where that is not possible (a full disk) it says so itself, in a note and under
    `UNWRITTEN`, and the segments stay: a later run needs them.
    """
    try:
        run.write_record(record)
    except OSError as problem:
        record["notes"] = [*(record["notes"] or []), f"this record could not be written: {problem}"]
        record[UNWRITTEN] = str(problem)
        return False
    return True
