"""Metrics of a dub from what was measured of its output segments, and of the finished output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from operators.evaluation.metric import (
    FinishedDub,
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
            elif isinstance(metric, TitleMetric) and math.isfinite(value := float(metric.measure(dub))):
                found.append(row(metric, value))
        except Exception as problem:
            notes.append(failure(metric, problem))
    return found, notes
