"""Fréchet distance of two sets of feature vectors, from statistics that are streamed and merged.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium". With
features of `operators.evaluation.fid` it is the FID.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class FeatureStatistics:
    """Count, mean and covariance of feature vectors, float64, in memory that does not grow with their number.

    Statistics of shards merge into those of the whole set (Chan et al. 1979).

    Args:
        size: length of a feature vector.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        #: float64[size, size], sum of the outer products of the differences from the mean.
        self.scatter = np.zeros((size, size))

    def add(self, features: np.ndarray) -> FeatureStatistics:
        """Take in float[n, size]; returns itself.

        Raises:
            ValueError: another shape, or values that are not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features of shape {features.shape}: need (n, {len(self.mean)})")
        if not np.isfinite(features).all():
            raise ValueError("features that are not finite (inf or nan)")
        if len(features):
            mean = features.mean(0)
            self._take(len(features), mean, (features - mean).T @ (features - mean))
        return self

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Take in the statistics of other vectors; returns itself.

        Raises:
            ValueError: theirs are of another length.
        """
        if len(other.mean) != len(self.mean):
            raise ValueError(
                f"vectors of {len(other.mean)} numbers do not mix with those of {len(self.mean)}"
            )
        if other.count:
            self._take(other.count, other.mean, other.scatter)
        return self

    @property
    def covariance(self) -> np.ndarray:
        """float64[size, size], over n - 1 as `numpy.cov` has it.

        Raises:
            ValueError: fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {self.count}")
        return self.scatter / (self.count - 1)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays ``count``, ``mean`` and ``scatter``, e.g. for `numpy.savez`."""
        return {"count": np.array(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> FeatureStatistics:
        """Return the statistics that `state` wrote."""
        made = cls(len(state["mean"]))
        made.count = int(state["count"])
        made.mean, made.scatter = (np.array(state[name], np.float64) for name in ("mean", "scatter"))
        return made

    def _take(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        apart = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(apart, apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return the squared Fréchet distance of the Gaussians with two sets' means and covariances; lower is better.

    Defined as ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, 0 for equal statistics, without an upper bound.
    The last trace is taken from the eigenvalues of ``C1^(1/2) C2 C1^(1/2)``, which equal those of ``C1 C2`` and
    stay real; so that no small number has to be added to singular covariances, as pytorch-fid adds 1e-6 where its
    root fails. Values of few pictures are biased upwards: compare sets of equal size, best of 10,000 and more.

    Raises:
        ValueError: fewer than two vectors in a set, or vectors of different lengths.
    """
    if len(first.mean) != len(second.mean):
        raise ValueError(f"vectors of {len(first.mean)} and {len(second.mean)} numbers cannot be compared")
    apart = first.mean - second.mean
    one, other = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(one)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    product = root @ other @ root
    shared = np.sqrt(np.clip(np.linalg.eigvalsh((product + product.T) / 2), 0, None)).sum()
    return float(max(0.0, apart @ apart + np.trace(one) + np.trace(other) - 2 * shared))
