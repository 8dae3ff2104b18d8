"""Fan-out from one row per segment to one row per dub and output segment, for stages with ``per = "dub"``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from operators.columns import empty_value
from operators.numeric.masks import runs
from operators.segment import DUB
from operators.storage.files import join
from pipelines.engine.rows import SEGMENT, Row
from pipelines.planning.length_rules import OutputSegment
from pipelines.planning.plans import DubTask, OutputSegmentTask, SpeakerTask, decode
from pipelines.planning.stretches import fade
from pipelines.planning.turns import turns_in
from pipelines.state.run_directory import OutputSegmentId

#: Seconds over which a dub comes and goes at the ends of a range.
EDGE = 0.12


def output_segment_task(
    output_segment: OutputSegment,
    number: int,
    key: str,
    segment_pts: np.ndarray,
    segment_start: int,
    inside: np.ndarray | None = None,
) -> OutputSegmentTask:
    """An output segment for the ``dubs`` column.

    Args:
        output_segment: its source frames and times.
        number: of the output segment inside its segment and dub.
        key: content key, which stands in the name of its encoded file.
        segment_pts: int64[T], times of the segment's frames from `segment_start` on.
        segment_start: source frame of ``segment_pts[0]``.
        inside: bool[n] of the title's frames, which are to be dubbed; None: all.
    """
    one = output_segment
    asked = None if inside is None else inside[one.source()]
    offsets = one.pts - segment_pts[one.source() - segment_start]
    constant = bool((offsets == offsets[0]).all())
    return OutputSegmentTask(
        *(number, key, int(one.start), int(one.step), one.count, int(one.out_start)),
        offset=int(offsets[0]) if constant else None,
        pts=None if constant else one.pts.tolist(),
        dubbed=None if asked is None or asked.all() else runs(asked),
        held=one.held,
    )


def _with_notes(meta: str, notes: list[str]) -> str:
    """A row's column ``meta`` with further notes."""
    known = json.loads(meta) if meta else {}
    return json.dumps({**known, "notes": [*known.get("notes", []), *notes]}) if notes else meta


def options_text(options: Mapping[str, Any]) -> str:
    """Overrides of stages' options as they stand in the column ``options``."""
    return json.dumps(options, sort_keys=True) if options else ""


def fan_out(row: Row) -> Iterator[Row]:
    """Rows with DUB columns for each output segment of each dub; an errored row stays one, with zero-length
    DUB columns.

    Columns of the segment are shared between the rows, not copied.
    """
    shared = {name: value for name, value in row.items() if name not in ("dubs", "others")}
    if row["error"] or row["kind"] != SEGMENT:
        yield {**shared, "others": (), **{field.name: empty_value(field) for field in DUB}}
        return
    people = [shared, *row.get("others", ())]
    dubs = decode(list[DubTask], row["dubs"])
    # The turns of those among whom the source's speaker is looked for: the same in every dub that asks for it.
    turns: dict[int, np.ndarray] = {}
    notes: list[str] = []
    if among := next(
        ([one.person for one in dub.speakers] for dub in dubs if dub.speaking and dub.speakers), []
    ):
        found, notes = turns_in(row, [people[person] for person in among])
        turns = dict(zip(among, found, strict=True))
    for dub in dubs:
        for task in dub.output_segments:
            which = OutputSegmentId(dub.dub, row["segment"], task.output_segment, task.key)
            out_pts = task.times(row["pts"], row["halo_start"])
            times = out_pts.astype(np.float64) * (row["time_base_num"] / row["time_base_den"])
            asked = task.asked()
            wanted = asked if dub.speakers is None or dub.speakers else np.zeros(task.count, bool)
            columns = {
                "segment_id": f"{row['segment_id']}/{dub.dub}/{task.output_segment}",
                "options": options_text(dub.options),
                "dub": dub.dub,
                "output_segment": task.output_segment,
                "key": task.key,
                "target": join(row["work"], which.file),
                "out_start": task.out_start,
                "source": task.source(),
                "out_pts": out_pts,
                "asked": asked,
                "meta": _with_notes(row["meta"], notes if dub.speaking else []),
            }
            at = columns["source"] - row["halo_start"]
            made = [
                {
                    **{name: value for name, value in people[one.person].items() if name != "dubs"},
                    **columns,
                    "speech": one.speech,
                    "speaker": one.speaker,
                    "person": one.identity,
                    "gate": fade(
                        wanted & turns[one.person][at] if dub.speaking and turns else wanted,
                        times,
                        EDGE,
                    ),
                    "others": (),
                }
                for one in dub.speakers or [SpeakerTask(0, 0, dub.speech)]
            ]
            if dub.speaking:  # whoever speaks longest here stands in front: measures look at that mouth
                made.sort(key=lambda one: -float(one["gate"].sum()))
            yield {**made[0], "others": tuple(made[1:])}
