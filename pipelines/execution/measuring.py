"""Metrics of a dub from what was measured of its output segments, and of the finished output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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


def measure_dub(
    places: Iterable[str], measured: Sequence[dict[str, Any]], dub: FinishedDub
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a dub's entries of the ledger's column ``metrics``, and notes about those that failed.

    Args:
        places: of the metrics' classes.
        measured: of each output segment in order, what its worker has measured ({}: nothing).
        dub: the finished dub.
    """
    metrics, notes = load_metrics(places)
    found = []
    for metric in metrics:
        try:
            if isinstance(metric, SegmentMetric):
                found += summarize([metric], measured)
            elif isinstance(metric, TitleMetric):
                if math.isfinite(value := float(metric.measure(dub))):
                    found.append(row(metric, value))
                else:
                    notes.append(failure(metric, NoValueError(NO_VALUE)))
        except Exception as problem:
            notes.append(failure(metric, problem))
    return found, notes


def trace_of(
    places: Iterable[str], measured: Sequence[dict[str, Any]], dub: FinishedDub
) -> dict[str, Any] | None:
    """Return a dub's trace, see `operators.evaluation.trace`; None where nothing was watched (``metrics.on=none``).

    Arguments as of `measure_dub`.

    Raises:
        MediaError: the speech cannot be read.
    """
    if not any("watch" in one for one in measured):
        return None
    # What listens takes long to import, and runs without metrics do not need it.
    from operators.evaluation.heard import hear
    from operators.evaluation.trace import dub_trace

    metrics = [metric for metric in load_metrics(places)[0] if isinstance(metric, SegmentMetric)]
    return dub_trace(metrics, measured, hear(dub.speech), dub.seconds)
