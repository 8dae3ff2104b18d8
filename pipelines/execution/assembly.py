"""From committed segments to a finished output with its record: one task a dub, in a Ray task or in the same
process.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.evaluation.metric import FinishedDub, title_row
from operators.media.assemble import assemble
from operators.media.concat import HeadersDifferError
from operators.media.languages import language_tag
from operators.storage.files import exists, filesystem
from operators.storage.looks import one_look_per_file
from operators.storage.redact import redact_all
from pipelines.engine.profile_parts import ReviewConfig
from pipelines.execution.dubbed_people import named_trace, seconds_dubbed, whole_notes
from pipelines.execution.low_quality import Untouched, refusal_of
from pipelines.execution.marking import expect, speech_marker
from pipelines.execution.measuring import DubMeasures, measure_output, measure_segments
from pipelines.execution.sound import sound_of
from pipelines.manifest.titles import LowQuality
from pipelines.planning.plans import DubPlan, OutputSegmentPlan
from pipelines.provenance.credentials import Signing
from pipelines.provenance.dub_manifest import DubFacts
from pipelines.provenance.signing import sign_output
from pipelines.provenance.source_manifests import spoken_language
from pipelines.rights.aigc import NAMELESS, TAG, aigc_tag
from pipelines.rights.labels import label_note, label_text
from pipelines.state.content_keys import output_key
from pipelines.state.ledger import PROVENANCE
from pipelines.state.outputs import making
from pipelines.state.run_directory import Record, RunDirectory, remove, sha256_file
from pipelines.state.sidecars import has_sidecar, sidecar_name
from pipelines.state.verdict import DEFAULT, Reason, reasons_of

#: Name of a sound that was made for the output, in notes.
NEW_SOUND = "the new sound"
#: Entry of a record in memory that says why it could not be written.
UNWRITTEN = "unwritten"


@dataclass(frozen=True)
class AssemblySpec:
    """Common to the assembly of all dubs of a run. Plain data: it is sent to the assemblers.

    Attributes:
        run: URL of the run directory.
        engine: its name, for the records.
        metrics: places of the metrics that dubs are measured by.
        keep_segments: encoded segments stay after assembly.
        review: thresholds beyond which somebody should look at a dub.
        on_low_quality: handling of a dub that is beyond one of them.
        signing: what outputs are signed with; None: they are not.
        mark_secret: key of the watermark, empty for none.
    """

    run: str
    engine: str
    metrics: tuple[str, ...] = ()
    keep_segments: bool = False
    review: ReviewConfig = DEFAULT
    on_low_quality: LowQuality = "keep"
    signing: Signing | None = None
    mark_secret: bytes = field(default=b"", repr=False)


def record_of(dub: DubPlan, engine: str, state: str, error: str = "", size: int = 0) -> Record:
    """The record of how a dub ended.

    Args:
        dub: as far as it came.
        engine: its name.
        state: ``done`` or ``failed``.
        error: why it failed.
        size: bytes of the output.
    """
    record: Record = {
        "title": dub.title,
        "dub": dub.dub.dub,
        "state": state,
        "error": error,
        "video": dub.video,
        "speech": dub.dub.speech,
        "speakers": [
            {"face": one.face, "speech": one.speech, "consent": one.consent or None}
            for one in dub.dub.speakers
        ]
        or None,
        "people": dub.people,
        "output": dub.dub.output,
        "language": dub.dub.language,
        "consent": dub.dub.consent or None,
        **{name: dub.provenance.get(name) for name in PROVENANCE},
        "engine": engine,
        "key": output_key(dub.key, dub.dub),
        "watermark_id": dub.mark_id or None,
        "watermark": dub.dub.watermark.get("mode"),
        "watermark_speech": dub.mark_speech,
        "watermark_picture": dub.mark_picture,
        "frames": dub.frames,
        "segments": len(dub.output_segments),
        "reused": dub.reused,
        "bytes": sum(receipt.bytes for receipt in dub.receipts),
        "size": size,
        "seconds": round(sum(dub.seconds.values()), 3),
        "video_seconds": round(dub.video_seconds, 3),
        "stage_seconds": json.dumps({name: round(value, 3) for name, value in dub.seconds.items()}),
        "metrics": dub.measured,
        "verdict": "failed" if state == "failed" else "review" if dub.reasons else "ok",
        "reasons": dub.reasons,
        "notes": dub.notes,
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "traceback": dub.traceback,
        "ingredients": dub.ingredients,
        "changed": dub.changed,
    }
    # What is written down and shown has no secrets of URLs in it; the key was made with them.
    return {name: redact_all(value) for name, value in record.items()}


@one_look_per_file()
def assemble_dub(dub: DubPlan, spec: AssemblySpec) -> Record:
    """Check a complete dub's segments against their receipts, put them together, record it, and only then delete the
    segments.

    Killed anywhere in between, the next run finds either the receipts (and assembles them again) or the
    record.

    Returns:
        The record: ``done``, or ``failed`` with the reason. It is written already, if it can be.
    """
    run, asked, began = RunDirectory(spec.run), dub.dub, time.perf_counter()
    segments = [one.which for one in dub.output_segments]
    try:
        paths = [_checked(run, dub, one) for one in dub.output_segments]
        measured, heard = _measure_segments(dub, spec), dict[str, float]()
        speech = speech_marker(dub, spec.mark_secret)
        with sound_of(dub) as sound:
            with (
                _acceptable(run, dub, spec, paths, measured.trace) as shown,
                making(run, dub.title, asked.dub, asked.output),
            ):
                notes = assemble(
                    *(asked.output, shown, dub.video, sound),
                    audio=asked.audio,
                    language=asked.language or None,
                    loudness=asked.loudness,
                    place=asked.place,
                    heard=heard,
                    whole=asked.length != "trim",
                    tags={}
                    if asked.aigc is None
                    else {TAG: aigc_tag(asked.aigc, output_key(dub.key, asked))},
                    mark=None if speech is None else speech.mark,
                    finish=None if spec.signing is None else lambda path: _sign(path, dub, spec),
                )
                dub.notes += [
                    note.replace(sound, NEW_SOUND) if sound != asked.speech else note for note in notes
                ]
                expect(dub, speech, shown)
                if spec.signing is None:
                    dub.provenance = {"provenance": "off"}
                    _forget_sidecar(asked.output)  # of a signed output that this one replaces
            dub.note(*filter(None, [label_note(asked.options), NAMELESS if asked.aigc == "" else ""]))
            fs, path = filesystem(asked.output)
            dub.seconds["assemble"] = time.perf_counter() - began
            _measure_output(dub, spec, heard, sound)
            if measured.trace is not None:
                dub.people = seconds_dubbed(measured.trace["people"])
            record = record_of(dub, spec.engine, "done", size=int(fs.size(path)))
            _write_trace(run, record, measured.trace)
    except Exception as problem:
        if not exists(asked.output):
            _forget_sidecar(asked.output)
        if isinstance(problem, HeadersDifferError):
            # Nodes or runs had other versions of the encoder: no later run could join these segments either.
            run.forget(dub.title, segments)
            problem = ValueError(f"{problem}; run again: its segments are encoded anew")
        text = (
            str(problem)
            if isinstance(problem, ValueError)
            else f"assemble: {type(problem).__name__}: {problem}"
        )
        record = record_of(dub, spec.engine, "failed", text)
        write_record(run, record)
        return record
    if write_record(run, record) and not spec.keep_segments:
        run.forget(dub.title, segments)
    return record


def _forget_sidecar(output: str) -> None:
    """Delete the manifest beside an output that has none, or has no output."""
    if has_sidecar(output):
        with suppress(OSError):
            remove(sidecar_name(output))


def _sign(path: Path, dub: DubPlan, spec: AssemblySpec) -> None:
    """Sign a dub's finished output, before it appears."""
    assert spec.signing is not None
    asked = dub.dub
    signed = sign_output(
        path,
        DubFacts(
            *(output_key(dub.key, asked), asked.output, dub.video, asked.speeches),
            language=language_tag(asked.language),
            source_language=spoken_language(dub.video) if asked.language else "",
            engine=spec.engine,
            source_type=spec.signing.source_type,
            watermark_id=dub.mark_id,
            consent=dict(redact_all(asked.consent or {})),
            consents=tuple(dict(redact_all(one.consent)) for one in asked.speakers if one.consent),
            length=asked.length,
            audio=asked.audio,
            notice=label_text(asked.options),
        ),
        spec.signing,
    )
    dub.note(*signed.notes)
    dub.provenance = {name: getattr(signed, name) for name in PROVENANCE}


def _measure_segments(dub: DubPlan, spec: AssemblySpec) -> DubMeasures:
    """Measure a dub by what its output segments say."""
    measured = [receipt.metrics for receipt in dub.receipts]
    found = measure_segments(spec.metrics, measured, dub.dub.spoken, dub.video_seconds, dub.heard_seconds)
    dub.note(*found.notes)
    dub.measured = found.rows
    if found.trace is not None:
        named_trace(found.trace, dub)
        dub.notes = whole_notes(dub.notes, found.trace)
    known = [Reason(doubt, None) for doubt in dub.doubts]
    dub.reasons = [dataclasses.asdict(reason) for reason in [*known, *reasons_of(found.rows, spec.review)]]
    return found


def _measure_output(dub: DubPlan, spec: AssemblySpec, heard: Mapping[str, float], sound: str) -> None:
    """Measure a dub whose output is written, too; ``heard`` as of `assemble`, ``sound`` is what it was given."""
    asked = dub.dub
    found = measure_output(
        spec.metrics,
        FinishedDub(
            *(dub.video, sound, asked.output, asked.language),
            *(dub.frames, dub.video_seconds, asked.audio),
        ),
    )
    dub.note(*found.notes)
    if spec.metrics and math.isfinite(loudness := heard.get("loudness", math.nan)):
        found.rows.append(title_row("loudness", loudness, "LUFS"))
    dub.measured = [*dub.measured, *found.rows]


@contextmanager
def _acceptable(
    run: RunDirectory, dub: DubPlan, spec: AssemblySpec, paths: list[str], trace: dict[str, Any] | None
) -> Iterator[list[str]]:
    """Give the segments that a dub is put together from.

    Raises:
        LowQualityError: it is not to be written.
    """
    reasons = [Reason(**reason) for reason in dub.reasons]
    if not reasons or spec.on_low_quality == "keep":
        yield paths
        return
    if spec.on_low_quality == "fail":
        raise refusal_of(reasons)
    # What was known beforehand says nothing against what is drawn.
    drawn = [reason for reason in reasons if reason.text not in dub.doubts]
    if trace is None or not drawn:
        yield paths
        return
    with Untouched(run, dub, paths, trace, drawn, spec.review) as untouched:
        dub.note(*untouched.notes)
        untouched.mark(trace)
        yield untouched.paths


def _write_trace(run: RunDirectory, record: Record, trace: Mapping[str, Any] | None) -> None:
    """Write a dub's trace; a title without one is no worse than the note."""
    if trace is None:
        return
    try:
        run.write_trace(record, trace)
    except OSError as problem:
        record["notes"] = [*(record["notes"] or []), f"its curves could not be written: {problem}"]


def _checked(run: RunDirectory, dub: DubPlan, one: OutputSegmentPlan) -> str:
    """Return the path of an output segment that is what its receipt says.

    Two workers may have made it: on processors that round otherwise their files differ, and either is right. The
    receipt on disk then says so, if not the one that came with the row.

    Raises:
        ValueError: it is not; it is forgotten.
    """
    assert one.receipt is not None, "the dub is complete"
    path = one.receipt.path
    digest = sha256_file(path)
    if digest == one.receipt.sha256:
        return path
    receipt = run.read_receipt(dub.title, one.which)
    if receipt is None or digest is None or (receipt["sha256"], receipt["frames"]) != (digest, one.frames):
        run.forget(dub.title, [one.which])
        raise ValueError(f"{path}: the encoded segment is gone or damaged; run again: it is computed anew")
    one.receipt = dataclasses.replace(one.receipt, sha256=digest, bytes=receipt["bytes"])
    return path


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
