"""Metrics of a dub from what was measured of its output segments, and of the finished output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.evaluation.metric import (
    NO_VALUE,
    FinishedDub,
    NoValueError,
    SegmentMetric,
    TitleMetric,
    failure,
    row,
    summarize,
)
from pipelines.engine.metrics import load_metrics

Measured = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class DubMeasures:
    """Measures of a dub.

    Attributes:
        rows: entries of the ledger's column ``metrics``.
        trace: `operators.evaluation.trace`; None where nothing was watched.
        notes: of metrics that failed.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    trace: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def measure_segments(
    places: Iterable[str], measured: Measured, speeches: Sequence[str], seconds: float, heard: float
) -> DubMeasures:
    """Return a dub's measures as far as they come from its output segments, so that they are known before it is put together.

    Args:
        places: of the metrics' classes.
        measured: of each output segment in order, what its worker has measured ({}: nothing).
        speeches: fsspec URLs, of each of the dub's speakers. A segment is compared with what the first one in it says.
        seconds: length of the output.
        heard: seconds of the longest sound that is heard in it, of a speech or the mix of several.
    """
    metrics, notes = load_metrics(places)
    inside = [metric for metric in metrics if isinstance(metric, SegmentMetric)]
    rows: list[dict[str, Any]] = []
    for metric in inside:
        try:
            rows += summarize([metric], measured)
        except Exception as problem:
            notes.append(failure(metric, problem))
    trace = None
    if any("watch" in one for one in measured):
        try:
            # What listens takes long to import, and runs without metrics do not need it.
            from operators.evaluation.heard import hear
            from operators.evaluation.shot_measures import measure_shot, title_rows
            from operators.evaluation.trace import dub_trace, shot_groups

            first = hear(speeches[0])
            groups = shot_groups(measured)
            shots = [measure_shot(group, hear(speeches[group[0].get("speaker", 0)])) for group in groups]
            rows += title_rows(shots, heard, seconds)
            trace = dub_trace(inside, measured, shots, first, seconds)
        except Exception as problem:  # a measure fails no title
            notes.append(f"the mouth was not compared with the speech: {type(problem).__name__}: {problem}")
    return DubMeasures(rows, trace, notes)


def measure_output(places: Iterable[str], dub: FinishedDub) -> DubMeasures:
    """Return what can be measured only once the output is written.

    Args:
        places: of the metrics' classes.
        dub: the finished dub.
    """
    metrics, _ = load_metrics(places)
    found = DubMeasures()
    for metric in metrics:
        try:
            if not isinstance(metric, TitleMetric):
                continue
            if math.isfinite(value := float(metric.measure(dub))):
                found.rows.append(row(metric, value))
            else:
                found.notes.append(failure(metric, NoValueError(NO_VALUE)))
        except Exception as problem:
            found.notes.append(failure(metric, problem))
    return found
