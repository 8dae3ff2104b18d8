"""Fan-out from one row per segment to one row per dub and output segment, for stages with ``per = "dub"``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from operators.columns import empty_value
from operators.segment import DUB
from operators.storage.files import join
from pipelines.engine.rows import SEGMENT, Row
from pipelines.planning.length_rules import OutputSegment
from pipelines.state.run_directory import OutputSegmentId


def output_segment_spec(
    output_segment: OutputSegment, number: int, key: str, segment_pts: np.ndarray, segment_start: int
) -> dict[str, Any]:
    """An output segment as JSON for the ``dubs`` column.

    Args:
        output_segment: its source frames and times.
        number: of the output segment inside its segment and dub.
        key: content key, which stands in the name of its encoded file.
        segment_pts: int64[T], times of the segment's frames from `segment_start` on.
        segment_start: source frame of ``segment_pts[0]``.

    Returns:
        ``{output_segment, key, start, step, count, out_start}`` and either ``offset``, where times are the
        source frames' own and a constant, or ``pts``, all of them.
    """
    spec: dict[str, Any] = {
        "output_segment": number,
        "key": key,
        "start": output_segment.start,
        "step": output_segment.step,
        "count": output_segment.count,
    }
    spec["out_start"] = output_segment.out_start
    offsets = output_segment.pts - segment_pts[output_segment.source() - segment_start]
    if (offsets == offsets[0]).all():
        spec["offset"] = int(offsets[0])
    else:
        spec["pts"] = output_segment.pts.tolist()
    return spec


def fan_out(row: Row) -> Iterator[Row]:
    """Rows with DUB columns for each output segment of each dub; an errored row stays one, with zero-length
    DUB columns.

    Columns of the segment are shared between the rows, not copied.
    """
    shared = {name: value for name, value in row.items() if name != "dubs"}
    if row["error"] or row["kind"] != SEGMENT:
        yield {**shared, **{field.name: empty_value(field) for field in DUB}}
        return
    for dub in json.loads(row["dubs"]):
        options = row["options"]
        if dub.get("options"):
            options = json.dumps(
                {**(json.loads(options) if options else {}), **dub["options"]}, sort_keys=True
            )
        for spec in dub["output_segments"]:
            source = spec["start"] + spec["step"] * np.arange(spec["count"], dtype=np.int64)
            pts = (
                row["pts"][source - row["halo_start"]] + spec["offset"]
                if "offset" in spec
                else np.array(spec["pts"], np.int64)
            )
            name = OutputSegmentId(dub["dub"], row["segment"], spec["output_segment"], spec["key"]).file
            yield {
                **shared,
                "segment_id": f"{row['segment_id']}/{dub['dub']}/{spec['output_segment']}",
                "options": options,
                "dub": dub["dub"],
                "speech": dub["speech"],
                "output_segment": spec["output_segment"],
                "key": spec["key"],
                "target": join(row["work"], name),
                "out_start": spec["out_start"],
                "source": source,
                "out_pts": pts.astype(np.int64),
            }
