"""The Fréchet distance of Gaussians in closed form, and statistics that stream and merge."""

import numpy as np
import pytest
from scipy import linalg

from operators.evaluation.frechet import FeatureStatistics, frechet_distance


def statistics(features: np.ndarray) -> FeatureStatistics:
    return FeatureStatistics(features.shape[1]).add(features)


def whitened(count: int, size: int) -> np.ndarray:
    """Vectors with mean 0 and the unit covariance, both exactly."""
    values = np.random.default_rng(1).normal(size=(count, size))
    values -= values.mean(0)
    return values @ linalg.inv(linalg.cholesky(np.cov(values, rowvar=False)))


def test_independent_gaussians_have_a_closed_form() -> None:
    white = whitened(60, 4)
    spread, other = np.array([1.0, 2, 0.5, 3]), np.array([2.0, 2, 1, 0.1])
    shift = np.array([0.5, -1, 0, 2])
    expected = np.square(shift).sum() + np.square(spread - other).sum()
    found = frechet_distance(statistics(white * spread), statistics(white * other + shift))
    assert found == pytest.approx(expected, rel=1e-9)


def test_correlated_gaussians_give_pytorch_fids_value() -> None:
    """2.25071438...: `calculate_frechet_distance` of pytorch-fid 0.3.0 for these vectors."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(400, 32))
    second = first[::-1] * 1.2 + 0.3 * rng.normal(size=(400, 32)) + 0.1
    assert frechet_distance(statistics(first), statistics(second)) == pytest.approx(
        2.250714380252731, rel=1e-9
    )


def test_a_set_is_no_distance_from_itself_even_with_fewer_vectors_than_numbers() -> None:
    few = statistics(np.random.default_rng(2).normal(size=(5, 20)))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    other = statistics(np.random.default_rng(3).normal(size=(5, 20)))
    assert frechet_distance(few, other) == pytest.approx(frechet_distance(other, few), rel=1e-6)


def test_shards_merge_to_the_statistics_of_one_pass() -> None:
    features = np.random.default_rng(4).normal(5, 2, size=(101, 6)).astype(np.float32)
    parts = [statistics(part) for part in np.split(features, [1, 40, 40, 77])]
    merged = FeatureStatistics(6)
    for part in parts:
        merged.merge(FeatureStatistics.from_state(part.state()))
    assert merged.count == 101
    np.testing.assert_allclose(merged.mean, features.astype(float).mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, np.cov(features.astype(float), rowvar=False), rtol=1e-9)


def test_a_large_common_offset_costs_no_digits() -> None:
    small = np.random.default_rng(5).normal(size=(50, 3))
    found = FeatureStatistics(3)
    for row in small + 1e6:
        found.add(row[None])
    np.testing.assert_allclose(found.covariance, np.cov(small, rowvar=False), rtol=1e-6)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(ValueError, match="not finite"):
        FeatureStatistics(2).add(np.array([[np.nan, 0]]))
    with pytest.raises(ValueError, match="need \\(n, 2\\)"):
        FeatureStatistics(2).add(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(statistics(np.zeros((1, 2))), statistics(np.zeros((3, 2))))
    with pytest.raises(ValueError, match="2 and 3"):
        frechet_distance(FeatureStatistics(2), FeatureStatistics(3))
