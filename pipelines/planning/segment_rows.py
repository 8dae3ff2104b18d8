"""A title's rows: its segments, each with what its dubs have to make of it."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from operators.media.codec_names import Encoding, container_of
from operators.media.limits import MediaLimits
from operators.media.outlook import check_carried_sound, encoding_outlook
from operators.media.probe import VideoInfo
from operators.segment import PLAN
from operators.storage.files import suffix
from operators.storage.redact import redact_all
from pipelines.engine.engine import META
from pipelines.engine.rows import SEGMENT, Row
from pipelines.manifest.titles import SPEAKING, merged
from pipelines.planning.context import PlanContext
from pipelines.planning.fanout import options_text, output_segment_task
from pipelines.planning.heartbeat import Heartbeats
from pipelines.planning.length_rules import OutputSegment, output_runs, split
from pipelines.planning.plans import (
    DubPlan,
    DubTask,
    OutputSegmentPlan,
    OutputSegmentTask,
    Receipt,
    TitlePlan,
    encode,
)
from pipelines.planning.segments import Range, cut_segments, halo_range, segment_columns
from pipelines.planning.shot_cache import shots_and_anchors
from pipelines.planning.speakers import (
    Seen,
    identities_in,
    mouthless,
    people_in,
    shared_faces,
    speakers_in,
)
from pipelines.planning.speech import Speeches, length_notes, mix_doubt, speeches_of
from pipelines.planning.stretches import dubbed_frames, range_notes
from pipelines.state.content_keys import content_key
from pipelines.state.run_directory import OutputSegmentId

#: Columns of a planned row.
PLANNED = pa.schema([*PLAN, META])
Committed = Mapping[OutputSegmentId, Receipt]


@dataclass(frozen=True)
class _Segment:
    """A segment of the video: [start, stop) of its frames, of those with the halo, and of its shot; and who is in it."""

    number: int
    core: Range
    halo: Range
    shot: Range
    people: tuple[Seen, ...]  # those who are asked for and seen in the shot
    identities: tuple[int, ...]  # of these people


def segment_rows(
    context: PlanContext,
    plan: TitlePlan,
    info: VideoInfo,
    committed: Committed,
    heartbeats: Heartbeats,
    rejected: list[str],
) -> Generator[Row, None, list[Row]]:
    """Complete a title's plan, and return its rows; yields heartbeats. A dub whose speech cannot be used fails.

    Args:
        context: of the run.
        plan: with its dubs.
        info: of the video.
        committed: output segments that need not be made.
        heartbeats: of the title.
        rejected: descriptions of state that was found and is not used are added here.

    Raises:
        ValueError: of the video or of the person in it; the plan is not completed.
    """
    speech = _speeches(plan, context.spec.limits)
    _fail_hopeless(context, plan, info)
    inside = _insides(plan, info)
    rows: list[Row] = []
    if plan.running:
        looked = yield from shots_and_anchors(context, plan.title, info, heartbeats, rejected)
        people = [people_in(looked, shot) for shot in range(len(looked.shots))]
        known = [identities_in(looked, shot, found) for shot, found in enumerate(people)]
        segments = _cut(context, plan, info, looked.shots, people, known)
        tasks: dict[int, list[DubTask]] = defaultdict(list)
        for dub in plan.running:
            name = dub.dub.dub
            _lay_out(context, plan, dub, speech[name], info, segments, committed, tasks, inside[name])
        rows = [_row(context, plan, info, one, tasks[one.number]) for one in segments if one.number in tasks]
        plan.shots, plan.segments = len(looked.shots), len(segments)
        seen = [any(a is not None for a in found) for found in zip(*looked.anchors.values())]
        plan.faceless_shots = seen.count(False)
        for dub in plan.running:
            if dub.dub.speakers or plan.title.faces == (plan.title.face,):
                dub.note(*looked.notes)
            dub.note(*redact_all(shared_faces(dub.dub, people, [len(found) for found in looked.people])))
            asked = inside[dub.dub.dub]
            dubbed = [
                seen
                for seen, shot in zip(people, looked.shots, strict=True)
                if asked is None or asked[slice(*shot)].any()
            ]
            dub.doubts += redact_all(mouthless(dub.dub, dubbed))
    plan.frames, plan.video_seconds = info.n_frames, float(info.duration)
    plan.width, plan.height = info.width, info.height
    return rows


def _speeches(plan: TitlePlan, limits: MediaLimits) -> dict[str, Speeches]:
    """Speeches by dub; a dub without any fails."""
    found = {}
    for dub in plan.running:
        try:
            found[dub.dub.dub] = speeches_of(dub.dub, limits)
        except ValueError as problem:
            dub.fail(str(problem))
    return found


def _insides(plan: TitlePlan, info: VideoInfo) -> dict[str, np.ndarray | None]:
    """Frames that are to be dubbed, by dub (`dubbed_frames`); a dub whose ranges cannot be used fails."""
    found: dict[str, np.ndarray | None] = {}
    for dub in plan.running:
        try:
            found[dub.dub.dub] = dubbed_frames(dub.dub, plan.title.video, info)
        except ValueError as problem:
            dub.fail(str(problem))
    return found


def _fail_hopeless(context: PlanContext, plan: TitlePlan, info: VideoInfo) -> None:
    """Fail the dubs that could not be written when all is drawn."""
    last = context.engine.stages[-1]
    for dub in plan.running:
        given = merged(plan.title.options, dub.dub.options).get(last.name, {})
        options = dataclasses.replace(last.options, **given)
        try:
            if isinstance(options, Encoding) and (problem := encoding_outlook(info, options)):
                dub.fail(problem)
                continue
            container = container_of(suffix(dub.dub.output))
            check_carried_sound(plan.title.video, container, dub.dub.audio, dub.dub.place)
        except ValueError as problem:
            dub.fail(str(problem))


def _cut(
    context: PlanContext,
    plan: TitlePlan,
    info: VideoInfo,
    shots: list[Range],
    people: Sequence[tuple[Seen, ...]],
    identities: Sequence[tuple[int, ...]],
) -> list[_Segment]:
    engine, length = context.engine, context.spec.segment_frames
    bounds, shot_of = cut_segments(shots, info, engine.config.segments, length)
    halo = engine.halo(plan.title.options)
    return [
        _Segment(
            *(number, core, halo_range(core, shots[shot], halo), shots[shot]),
            *(people[shot], identities[shot]),
        )
        for number, (core, shot) in enumerate(zip(bounds, shot_of, strict=True))
    ]


def _lay_out(
    context: PlanContext,
    plan: TitlePlan,
    dub: DubPlan,
    speech: Speeches,
    info: VideoInfo,
    segments: list[_Segment],
    committed: Committed,
    tasks: dict[int, list[DubTask]],
    inside: np.ndarray | None,
) -> None:
    """Plan a dub's output, and add to the `tasks` of segments those of its output segments that are missing."""
    runs = output_runs(info.pts, info.last_duration, info.time_base, speech.seconds, dub.dub.length)
    dub.note(*redact_all([*speech.notes, *length_notes(dub.dub, speech, info), *range_notes(dub.dub, info)]))
    dub.doubts += redact_all(list(filter(None, [mix_doubt(dub.dub, speech, info)])))
    dub.frames = sum(run.count for run in runs)
    dub.video_seconds = _shown_seconds(runs[-1].pts, info)
    dub.heard_seconds = float(speech.heard)
    options = merged(plan.title.options, dub.dub.options)
    last = context.engine.stages[-1].name
    if options.get(last, {}).get("watermark", "off") != "off":
        # Not part of the key: it follows from it.
        options = merged(options, {last: {"watermark_of": dub.key}})
    parts = split(runs, [one.core for one in segments], _longest(context, info))
    for number, output_segments in _by_segment(parts).items():
        missing = _missing(dub, segments[number], output_segments, info.pts, committed, inside)
        if missing:
            one = segments[number]
            speakers = speakers_in(plan.title, dub.dub, one.people, one.identities)
            speaking = not dub.dub.speakers and plan.title.face == SPEAKING
            tasks[number].append(DubTask(dub.dub.dub, dub.dub.speech, options, missing, speakers, speaking))
    dub.output_segments.sort(key=lambda one: one.out_start)


def _missing(
    dub: DubPlan,
    segment: _Segment,
    output_segments: list[OutputSegment],
    pts: np.ndarray,
    committed: Committed,
    inside: np.ndarray | None,
) -> list[OutputSegmentTask]:
    """Output segments of one segment that have no receipt; all are noted in the dub's plan."""
    missing = []
    for index, output_segment in enumerate(output_segments):
        task = output_segment_task(
            *(output_segment, index, "", pts[slice(*segment.halo)], segment.halo[0], inside)
        )
        key = content_key(dub.key, segment.halo, dataclasses.asdict(task))[:20]
        which = OutputSegmentId(dub.dub.dub, segment.number, index, key)
        receipt = committed.get(which)
        if receipt is not None and receipt.frames != task.count:
            receipt = None
        dub.output_segments.append(OutputSegmentPlan(which, task.out_start, task.count, receipt))
        if receipt is None:
            missing.append(dataclasses.replace(task, key=key))
    return missing


def _longest(context: PlanContext, info: VideoInfo) -> int:
    """Most frames of an output segment of held frames."""
    rule = context.engine.config.segments
    if rule.kind == "frames":
        return context.spec.segment_frames
    return max(1, int(rule.max_seconds * info.average_rate))


def _row(
    context: PlanContext, plan: TitlePlan, info: VideoInfo, segment: _Segment, tasks: list[DubTask]
) -> Row:
    # Where nothing is to be dubbed, nobody is looked for.
    asked = any(task.asked().any() for dub in tasks for task in dub.output_segments)
    title, people = plan.title, [anchor for _, anchor in segment.people] if asked else []
    row = {
        "kind": SEGMENT,
        "segment_id": f"{title.id}/{segment.number}",
        "title": title.id,
        "work": context.run.segments(title.id),
        "options": options_text(title.options),
        "dubs": encode(tasks),
        "error": "",
        "segment": segment.number,
        **segment_columns(title.video, info, segment.core, segment.halo, segment.shot),
        "anchor": np.asarray(people[0] if people else [math.nan] * 4, np.float32),
        "others": (),
        "meta": "",
    }
    others = [{**row, "dubs": "", "anchor": np.asarray(anchor, np.float32)} for anchor in people[1:]]
    return {**row, "others": tuple(others)}


def _by_segment(output_segments: Iterator[OutputSegment]) -> dict[int, list[OutputSegment]]:
    found: dict[int, list[OutputSegment]] = defaultdict(list)
    for output_segment in output_segments:
        found[output_segment.segment].append(output_segment)
    return found


def _shown_seconds(last_run: np.ndarray, info: VideoInfo) -> float:
    return float((int(last_run[-1]) + info.last_duration - int(info.pts[0])) * info.time_base)
