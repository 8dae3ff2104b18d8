"""Means, intervals and tests against hand-computed values and scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipelines.evaluation.results import statistics
from pipelines.evaluation.results.statistics import ROUNDS, SEED, Mean, compare_paired, holm, mean_of


def test_the_interval_of_two_values_runs_from_one_to_the_other() -> None:
    """Resampled means of 0 and 1 are 0, 1/2 and 1 with probability 1/4, 1/2 and 1/4."""
    assert mean_of(np.array([0.0, 1.0])) == Mean(0.5, 0.0, 1.0, 2)


def test_equal_values_have_no_width() -> None:
    assert mean_of(np.full(7, 3.25)) == Mean(3.25, 3.25, 3.25, 7)


def test_fewer_than_two_values_have_no_interval() -> None:
    one, none = mean_of(np.array([2.0])), mean_of(np.zeros(0))
    assert (one.value, one.count) == (2.0, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert none.count == 0
    assert math.isnan(none.value)


@pytest.mark.parametrize("count", [5, 64, 1000])
def test_intervals_are_those_of_scipy(count: int) -> None:
    """The percentile method; scipy draws other samples, so that ends agree within the bootstrap's own noise."""
    values = np.random.default_rng(count).gamma(2.0, 1.5, count)
    found = mean_of(values)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=np.random.default_rng(9)
    )
    room = 0.2 * expected.standard_error
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=room)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=room)


def test_intervals_are_the_percentiles_of_the_seeded_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn in blocks of any size: a plain loop over resamples gives the same numbers."""
    values = np.random.default_rng(3).normal(size=37)
    rng = np.random.default_rng(SEED)
    means = [values[rng.integers(37, size=37)].mean() for _ in range(ROUNDS)]
    expected = np.percentile(means, [2.5, 97.5])
    for block in (37, 1000, statistics._DRAWS):
        monkeypatch.setattr(statistics, "_DRAWS", block)
        found = mean_of(values)
        np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        # No rank sum of six is as small as 0 but that of no signs and that of all: 2 of 64.
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        # The negative ranks sum to 4; 7 of the 32 subsets of 1 ... 5 sum to at most 4.
        ([1, 2, 3, -4, 5], 14 / 32),
        # Clips without a difference have no rank.
        ([0, 0, 1, 2, 3, 4, 5, 6], 2 / 64),
        ([1], 1.0),
        ([0, 0, 0], 1.0),
    ],
)
def test_signed_ranks_by_hand(differences: list[int], p: float) -> None:
    base = np.linspace(0, 1, len(differences)) * 16
    found = compare_paired(base + differences, base)
    assert found.p == pytest.approx(p, abs=1e-12)
    assert found.count == len(differences)
    assert found.median == pytest.approx(np.median(differences))


def test_a_comparison_changes_its_sign_and_nothing_else_the_other_way_round() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=80), rng.normal(0.3, size=80)
    there, back = compare_paired(one, other), compare_paired(other, one)
    assert there.median == -back.median
    assert there.p == pytest.approx(back.p)
    assert there.p == pytest.approx(stats.wilcoxon(one, other).pvalue)


def test_without_common_clips_there_is_no_p() -> None:
    found = compare_paired(np.zeros(0), np.zeros(0))
    assert found.count == 0
    assert math.isnan(found.p)
    assert math.isnan(found.median)


def test_holm_by_hand() -> None:
    """0.005 x 4, 0.01 x 3, 0.03 x 2; the last, 0.04 x 1, is not below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    corrected = holm([math.nan, 0.02])
    assert math.isnan(corrected[0])
    assert corrected[1] == 0.02
    assert holm([]) == []
