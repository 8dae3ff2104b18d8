"""The planner: a title becomes segment rows. Probe, speech, shots, anchors, length rules, halo; skips what is
committed.

Runs once per title, in an actor of its own pool or in a plain loop. It yields first the title's mark (a row
with ``segment = -1`` whose `meta` holds the title's plan for the driver), then one row per segment that still
has something to compute. Nothing raised here leaves: a title that cannot be planned is a mark with an error.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
import traceback
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from operators.media.audio import audio_blocks, check_audible
from operators.media.limits import DEFAULT_LIMITS, MediaLimits
from operators.media.probe import VideoInfo, probe_video
from operators.receipt import RECEIPT
from operators.segment import PLAN
from operators.storage.files import exists, filesystem, fingerprint, join, kept_by_file, suffix
from operators.storage.redact import redact
from operators.threads import single_thread
from pipelines.engine.engine import META, Engine
from pipelines.engine.rows import HEARTBEAT, PLAN_ROW, SEGMENT, Row, empty_row
from pipelines.engine.specs import PlanSpec
from pipelines.manifest.titles import SUFFIXES, Dub, Title, is_picture
from pipelines.planning.fanout import output_segment_spec
from pipelines.planning.heartbeat import Heartbeats, heartbeats_of
from pipelines.planning.length_rules import OutputSegment, output_runs, split
from pipelines.planning.segments import cut_segments, halo_range
from pipelines.state.changes import RECOMPUTED, Ingredients, changes, readable
from pipelines.state.content_keys import (
    content_key,
    output_ingredients,
    output_key,
    provenance_of,
    segment_ingredients,
    shot_ingredients,
)
from pipelines.state.coordinator import MAX_ATTEMPTS, CoordinatorProtocol, WorkKey, noted_reads
from pipelines.state.run_directory import (
    REJECTED_STATE,
    OutputSegmentId,
    RunDirectory,
    read_checksummed,
    write_checksummed,
)

#: Samples per second at which speech is looked through.
SPEECH_RATE = 16000
#: Columns of a planned row.
PLANNED = pa.schema([*PLAN, META])


@dataclass
class DubPlan:
    """One dub of a title as planned.

    `state` is ``run``, ``done`` (a record of the same inputs and options, and its output, are there) or
    ``failed``. `output_segments` are all output segments of the output in order; those with a receipt are
    committed. `ingredients` is what the key was made of, `changed` those that differ from the finished dub
    that is computed again.
    """

    dub: Dub
    key: str
    state: str = "run"
    error: str = ""
    notes: list[str] = field(default_factory=list)
    frames: int = 0
    video_seconds: float = 0.0
    output_segments: list[dict[str, Any]] = field(default_factory=list)
    ingredients: Ingredients = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for the title's mark."""
        return dataclasses.asdict(self)


class Planner:
    """Plans titles for one engine into one run directory.

    Args:
        spec: engine, run directory, the profile's segment length.
        coordinator: attempts: a video that kills its planner becomes an error after three tries.
    """

    def __init__(self, spec: PlanSpec, coordinator: CoordinatorProtocol) -> None:
        self.spec, self.coordinator = spec, coordinator
        self.engine = Engine(spec.engine)
        self.provenance = spec.provenance or provenance_of(self.engine)
        self.run = RunDirectory(spec.run)
        single_thread()
        self._rejected_state: list[str] = []

    def plan(self, title: Title) -> Iterator[Row]:
        """Plan one title: its mark, then its rows."""
        return (row for row in self.steps(title) if row["kind"] != HEARTBEAT)

    def steps(self, title: Title) -> Iterator[Row]:
        """`plan`, with heartbeats before the mark of a long title: rows that only say that its planner is
        alive (see `Heartbeats`).
        """
        began, key = time.perf_counter(), WorkKey(("plan",), title.id)
        # Planned again (its worker died, or a node with its rows was lost), a title must give the same rows:
        # Ray drops as many as it had.
        attempts, decision = self.coordinator.begin_plan(title.id)
        mark: dict[str, Any] = {"title": dataclasses.asdict(title), "dubs": []}
        rows: list[Row] = []
        dubs: list[DubPlan] = []
        error, trace = title.error, ""
        self._rejected_state = []
        heartbeats = Heartbeats(title.id, decision["heartbeats"] if decision else 0, PLANNED)
        noted = ExitStack()
        try:
            noted.enter_context(noted_reads(self.coordinator, key, attempts)())
            if attempts > MAX_ATTEMPTS:
                culprit = self.coordinator.last_read(key)
                reading = f"reading {culprit}" if culprit else f"planning {title.video}"
                error = (
                    f"{reading} killed its worker {MAX_ATTEMPTS} times in a row: "
                    "is the file damaged? See Ray's worker logs"
                )
            if not error:
                dubs = self._dubs(title, decision and decision["done"])
                running = any(dub.state == "run" for dub in dubs)
                if decision is None:
                    committed = self.run.committed(title.id, self._rejected_state) if running else {}
                    kept = (*OutputSegmentId._fields, *RECEIPT.names, "notes", "metrics")
                    receipts = [
                        {k: receipt[k] for k in kept if k in receipt} for receipt in committed.values()
                    ]
                    decision = {
                        "done": [plan.dub.dub for plan in dubs if plan.state == "done"],
                        "committed": receipts,
                        "heartbeats": 0,
                    }
                    self.coordinator.decide(title.id, decision)
                if running:
                    info = probe_video(title.video, self.spec.limits)
                    if is_picture(title.face):
                        probe_video(title.face, self.spec.limits)  # a picture is a file like others
                    if heartbeats_of(info.n_frames) != heartbeats.total:
                        heartbeats.total = decision["heartbeats"] = heartbeats_of(info.n_frames)
                        self.coordinator.decide(title.id, decision)
                    summary, rows = yield from self._segments(
                        title, info, dubs, _by_id(decision["committed"]), heartbeats
                    )
                    mark.update(summary)
        except Exception as problem:
            error = (
                str(problem)
                if isinstance(problem, ValueError)
                else f"plan: {type(problem).__name__}: {problem}"
            )
            trace = traceback.format_exc(limit=-8)
            rows = []
        finally:
            noted.close()
        if error:
            dubs = dubs or [DubPlan(dub, "") for dub in title.dubs]
            dubs = [
                dub
                if dub.state == "done"
                else dataclasses.replace(dub, state="failed", error=dub.error or error)
                for dub in dubs
            ]
        if self._rejected_state and dubs:
            next((dub for dub in dubs if dub.state == "run"), dubs[0]).notes.append(
                _said(self._rejected_state)
            )
        mark.update(
            dubs=[dub.to_dict() for dub in dubs],
            seconds=round(time.perf_counter() - began, 4),
            traceback=trace,
        )
        self.coordinator.end(key)
        self.coordinator.stage_done("plan", mark.get("frames", 0), mark["seconds"], bool(error))
        yield from heartbeats.rest()
        values = {
            "kind": PLAN_ROW,
            "segment_id": title.id,
            "title": title.id,
            "video": title.video,
            "error": error,
            "meta": json.dumps(mark),
        }
        yield empty_row(PLANNED, values)
        yield from rows

    def left(self, title: Title) -> list[Dub]:
        """The dubs of a title that have something to do, as far as that can be told without opening its
        media.
        """
        if title.error:
            return []
        self._rejected_state = []
        try:
            return [plan.dub for plan in self._dubs(title, None) if plan.state == "run"]
        except ValueError:
            return []  # it fails as soon as it is planned

    # --- what is asked --------------------------------------------------------------------------------------
    def _dubs(self, title: Title, done: list[str] | None) -> list[DubPlan]:
        """Each dub's content key, and whether it is done already (those of `done`, where that is known) or
        cannot be run. Touches no media.

        Raises:
            MediaError: the video cannot be found.
        """
        video = fingerprint(title.video)
        plans = []
        for dub in title.dubs:
            plan = DubPlan(dub, "")
            plans.append(plan)
            if dub.error:
                plan.state, plan.error = "failed", dub.error
                continue
            if suffix(dub.output) not in SUFFIXES:
                plan.state, plan.error = (
                    "failed",
                    f"{dub.output}: an output's name ends in {', '.join(SUFFIXES)}",
                )
                continue
            try:
                made_of = segment_ingredients(
                    self.engine, title, dub, video, self.spec.segment_frames, self.provenance
                )
            except ValueError as problem:
                plan.state, plan.error = "failed", str(problem)
                continue
            plan.key = content_key(made_of)
            plan.ingredients = readable({**made_of, **output_ingredients(dub)})
            self._compare(title, plan, done)
        return plans

    def _compare(self, title: Title, plan: DubPlan, done: list[str] | None) -> None:
        """Say whether a dub is done: a record of the same inputs and options is there, and its output. If
        not, note what has changed.
        """
        record = self.run.read_record(title.id, plan.dub.dub, self._rejected_state)
        finished = record is not None and record["state"] == "done"
        same = record is not None and finished and record.get("key") == output_key(plan.key, plan.dub)
        if done is not None:
            is_done = plan.dub.dub in done
        else:
            is_done = same and record is not None and _size(plan.dub.output) == record.get("size")
        if is_done:
            plan.state = "done"
        elif record is not None and finished:
            why = {"output": "the output is gone"} if same else changes(record, plan.ingredients)
            plan.changed = list(why)
            plan.notes.append(f"{RECOMPUTED}{'; '.join(why.values())}")

    # --- what is to be done ---------------------------------------------------------------------------------
    def _segments(
        self,
        title: Title,
        info: VideoInfo,
        dubs: list[DubPlan],
        committed: dict[OutputSegmentId, dict[str, Any]],
        heartbeats: Heartbeats,
    ) -> Generator[Row, None, tuple[dict[str, Any], list[Row]]]:
        """Compute the content of a title's mark, and its rows; yields heartbeats. Notes speech that cannot be used in
        its dub.
        """
        speech = {}
        for plan in dubs:
            if plan.state != "run":
                continue
            try:
                speech[plan.dub.dub] = speech_length(plan.dub.speech, self.spec.limits)
            except ValueError as problem:
                plan.state, plan.error = "failed", str(problem)
        summary: dict[str, Any] = {
            "frames": info.n_frames,
            "video_seconds": float(info.duration),
            "width": info.width,
            "height": info.height,
        }
        running = [plan for plan in dubs if plan.state == "run"]
        if not running:
            return summary, []
        shots, anchors = yield from self._shots_and_anchors(title, info, heartbeats)
        bounds, shot_of = cut_segments(shots, info, self.engine.config.segments, self.spec.segment_frames)
        spoken: dict[int, list[dict[str, Any]]] = defaultdict(list)
        halo = self.engine.halo(title.options)
        halos = [halo_range(bound, shots[shot], halo) for bound, shot in zip(bounds, shot_of)]
        for plan in running:
            runs = output_runs(
                info.pts, info.last_duration, info.time_base, speech[plan.dub.dub], plan.dub.length
            )
            plan.notes += length_notes(plan.dub, speech[plan.dub.dub], info)
            plan.frames = sum(run.count for run in runs)
            plan.video_seconds = _shown_seconds(runs[-1].pts, info)
            for number, output_segments in _by_segment(split(runs, bounds, self._longest(info))).items():
                missing = self._missing(plan, number, output_segments, info.pts, halos[number], committed)
                if missing:
                    spoken[number].append(
                        {
                            "dub": plan.dub.dub,
                            "speech": plan.dub.speech,
                            "options": plan.dub.options,
                            "output_segments": missing,
                        }
                    )
            plan.output_segments.sort(key=lambda output_segment: output_segment["out_start"])
        rows = [
            self._row(
                title,
                info,
                number,
                bounds[number],
                halos[number],
                shots[shot_of[number]],
                anchors[shot_of[number]],
                spoken[number],
            )
            for number in sorted(spoken)
        ]
        faceless = sum(anchor is None for anchor in anchors) if self.engine.config.find_faces else 0
        return {**summary, "shots": len(shots), "faceless_shots": faceless, "segments": len(bounds)}, rows

    def _missing(
        self,
        plan: DubPlan,
        number: int,
        output_segments: list[OutputSegment],
        pts: np.ndarray,
        halo: tuple[int, int],
        committed: dict[OutputSegmentId, dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Specifications of the output segments of one segment that have no receipt; all are noted in the
        dub's plan.
        """
        missing = []
        for index, output_segment in enumerate(output_segments):
            spec = output_segment_spec(output_segment, index, "", pts[slice(*halo)], halo[0])
            spec["key"] = content_key(plan.key, halo, spec)[:20]
            which = OutputSegmentId(plan.dub.dub, number, index, spec["key"])
            receipt = committed.get(which)
            if receipt is not None and receipt["frames"] != output_segment.count:
                receipt = None
            plan.output_segments.append(
                {
                    **which._asdict(),
                    "out_start": output_segment.out_start,
                    "frames": output_segment.count,
                    "receipt": receipt,
                }
            )
            if receipt is None:
                missing.append(spec)
        return missing

    def _longest(self, info: VideoInfo) -> int:
        """Most frames of an output segment of held frames."""
        rule = self.engine.config.segments
        return (
            self.spec.segment_frames
            if rule.kind == "frames"
            else max(1, int(rule.max_seconds * info.average_rate))
        )

    def _shots_and_anchors(
        self, title: Title, info: VideoInfo, heartbeats: Heartbeats
    ) -> Generator[Row, None, tuple[list[tuple[int, int]], list[np.ndarray | None]]]:
        """Shots and anchors of a title, from the cache where an earlier run has found them; yields
        heartbeats.
        """
        key = content_key(shot_ingredients(self.engine, title, fingerprint(title.video), self.provenance))
        cache = join(self.spec.cache or self.run.url, "plans", f"{key}.json")
        known = read_checksummed(cache)
        if known is None and exists(cache):
            self._rejected_state.append("shots and anchors: damaged")
        if known is not None and known.get("key") == key and known.get("n_frames") == info.n_frames:
            return [(int(a), int(b)) for a, b in known["shots"]], [
                None if a is None else np.array(a, np.float32) for a in known["anchors"]
            ]
        from pipelines.planning.shots import look_through  # with OpenCV

        face = title.face if self.engine.config.find_faces else None
        shots, anchors = yield from heartbeats.following(
            look_through(title.video, info, self.engine.config.detect_shots, face)
        )
        plain = [None if a is None else [float(v) for v in a] for a in anchors]
        write_checksummed(
            cache,
            {
                "key": key,
                "video": redact(title.video),
                "n_frames": info.n_frames,
                "shots": shots,
                "anchors": plain,
            },
        )
        return shots, anchors

    def _row(
        self,
        title: Title,
        info: VideoInfo,
        number: int,
        core: tuple[int, int],
        halo: tuple[int, int],
        shot: tuple[int, int],
        anchor: np.ndarray | None,
        dubs: list[dict[str, Any]],
    ) -> Row:
        return {
            "kind": SEGMENT,
            "segment_id": f"{title.id}/{number}",
            "title": title.id,
            "video": title.video,
            "work": self.run.segments(title.id),
            "options": json.dumps(title.options, sort_keys=True) if title.options else "",
            "dubs": json.dumps(dubs),
            "error": "",
            "segment": number,
            "frame_width": info.width,
            "frame_height": info.height,
            "start": core[0],
            "stop": core[1],
            "halo_start": halo[0],
            "halo_stop": halo[1],
            "shot_start": shot[0],
            "shot_stop": shot[1],
            "n_frames": info.n_frames,
            "time_base_num": info.time_base.numerator,
            "time_base_den": info.time_base.denominator,
            "out_origin": int(info.pts[0]),
            "pts": info.pts[slice(*halo)],
            "anchor": np.full(4, math.nan, np.float32) if anchor is None else np.asarray(anchor, np.float32),
            "meta": "",
        }


def _by_id(receipts: list[dict[str, Any]]) -> dict[OutputSegmentId, dict[str, Any]]:
    return {OutputSegmentId.of(receipt): receipt for receipt in receipts}


def _said(rejected_state: list[str]) -> str:
    """Return the note on state that was found and not used."""
    more = f" and {len(rejected_state) - 3} more" if len(rejected_state) > 3 else ""
    return f"{REJECTED_STATE}{'; '.join(rejected_state[:3])}{more}: the work is done again"


def speech_length(url: str, limits: MediaLimits = DEFAULT_LIMITS) -> Fraction:
    """Length of a speech in seconds, once it is known to be readable and not silent.

    Raises:
        LimitError: the file is larger or the speech longer than allowed.
        MediaError: missing, unreadable, without an audio stream, or silent.
    """
    limits.check_file(url)
    return _speech_length(url, limits)


@kept_by_file(256)
def _speech_length(url: str, limits: MediaLimits) -> Fraction:
    samples, peak = 0, 0.0
    # Channel by channel: those in opposite phase would cancel each other.
    for block, _ in audio_blocks(url, SPEECH_RATE):
        samples, peak = samples + block.shape[1], max(peak, float(np.abs(block).max()))
        limits.check_seconds(url, samples / SPEECH_RATE)
    check_audible(np.array([peak], np.float32), url)
    return Fraction(samples, SPEECH_RATE)


def length_notes(dub: Dub, speech: Fraction, info: VideoInfo) -> list[str]:
    """Return the note on a speech that is longer or shorter than the video."""
    difference = float(speech - info.duration)
    if info.n_frames == 1:
        return []
    if dub.length in ("keep", "trim") and difference > 0.25:
        return [
            f"the speech is {difference:.1f} s longer than the video and is cut; length freeze, loop or pingpong keeps all of it"
        ]
    if dub.length == "keep" and difference < -0.25:
        return [
            f"the speech ends {-difference:.1f} s before the video; from there the video keeps its own mouth "
            "(--length trim would end the video there)"
        ]
    return []


def _by_segment(output_segments: Iterator[OutputSegment]) -> dict[int, list[OutputSegment]]:
    found: dict[int, list[OutputSegment]] = defaultdict(list)
    for output_segment in output_segments:
        found[output_segment.segment].append(output_segment)
    return found


def _shown_seconds(last_run: np.ndarray, info: VideoInfo) -> float:
    return float((int(last_run[-1]) + info.last_duration - int(info.pts[0])) * info.time_base)


def _size(url: str) -> int | None:
    """Size of a file, None where it is missing."""
    fs, path = filesystem(url)
    return int(fs.size(path)) if fs.exists(path) else None
