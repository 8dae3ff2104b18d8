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
    """Mean of float64[n] with its percentile bootstrap interval (Efron, 1979)."""
    if not len(values):
        return Mean(math.nan, math.nan, math.nan, 0)
    if len(values) == 1:
        return Mean(float(values[0]), math.nan, math.nan, 1)
    rng = np.random.default_rng(SEED)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(ROUNDS)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(float(values.mean()), float(low), float(high), len(values))


def compare_paired(one: np.ndarray, other: np.ndarray) -> Difference:
    """Compare the values of two systems for the same clips, float64[n] each (Wilcoxon, 1945)."""
    from scipy.stats import wilcoxon

    if not len(one):
        return Difference(0, math.nan, math.nan)
    differences = one - other
    p = float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0
    return Difference(len(one), float(np.median(differences)), p)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm, 1979); NaN stay NaN and do not count."""
    known = [number for number, p in enumerate(ps) if not math.isnan(p)]
    corrected, least = [math.nan] * len(ps), 0.0
    for rank, number in enumerate(sorted(known, key=lambda number: ps[number])):
        least = max(least, min(1.0, (len(known) - rank) * ps[number]))
        corrected[number] = least
    return corrected
