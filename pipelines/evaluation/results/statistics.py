"""Intervals and tests of means: percentile bootstrap, Wilcoxon's signed ranks, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Resamples of a bootstrap, and the seed of their draws: the same scores give the same table.
ROUNDS, SEED = 1000, 0
#: Share of the resampled means inside an interval.
LEVEL = 0.95
#: Draws at a time: memory does not grow with the number of clips.
_DRAWS = 2_000_000


@dataclass(frozen=True)
class Mean:
    """A mean with its interval.

    Attributes:
        value: NaN without values.
        low, high: ends of the 95 % interval; NaN for fewer than two values, and for metrics of whole sets.
        count: number of values.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Difference:
    """A paired comparison.

    Attributes:
        count: clips that both have.
        median: of the differences, first less second; NaN without clips.
        p: two-sided, Wilcoxon's signed-rank test; 1 where nothing differs, NaN without clips.
        corrected: p after Holm's correction for all comparisons of the metric.
    """

    count: int
    median: float
    p: float
    corrected: float = math.nan


def mean_of(values: np.ndarray) -> Mean:
    """Mean of float64[n] with its percentile bootstrap interval over the n clips (Efron, 1979)."""
    count = len(values)
    if count < 2:
        return Mean(float(values[0]) if count else math.nan, math.nan, math.nan, count)
    rng = np.random.default_rng(SEED)
    means, step = np.empty(ROUNDS), max(1, _DRAWS // count)
    for start in range(0, ROUNDS, step):
        size = min(step, ROUNDS - start)
        means[start : start + size] = values[rng.integers(count, size=(size, count))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(float(values.mean()), float(low), float(high), count)


def compare_paired(one: np.ndarray, other: np.ndarray) -> Difference:
    """Compare the values of two systems for the same clips, float64[n] each (Wilcoxon, 1945).

    Clips without a difference are left out of the ranks and counted nevertheless.
    """
    from scipy.stats import wilcoxon

    if not len(one):
        return Difference(0, math.nan, math.nan)
    differences = one - other
    changed = differences[differences != 0]
    p = float(wilcoxon(changed).pvalue) if len(changed) else 1.0
    return Difference(len(one), float(np.median(differences)), p)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm, 1979); NaN stay NaN and do not count."""
    known = [number for number, p in enumerate(ps) if not math.isnan(p)]
    corrected, least = [math.nan] * len(ps), 0.0
    for rank, number in enumerate(sorted(known, key=lambda number: ps[number])):
        least = max(least, min(1.0, (len(known) - rank) * ps[number]))
        corrected[number] = least
    return corrected
