"""Compiled loop behind `operators.numeric.affine.robust_similarity`."""

from __future__ import annotations

import numpy as np

from operators.numeric.compiled import compiled


@compiled
def weighted_rounds(source: np.ndarray, target: np.ndarray, rounds: int, reach: float) -> np.ndarray:
    """Fit a similarity, then again with Cauchy weights of the residuals; the formulas are those of `operators.numeric.affine.similarity`.

    Args:
        source, target: float64[n, 2], n at least 1.
        rounds: fits after the first.
        reach: scale of the weights, in medians of the residuals.

    Returns:
        float64[2, 3].
    """
    count = len(source)
    weights, residuals = np.ones(count), np.empty(count)
    fitted = np.empty((2, 3))
    for done in range(rounds + 1):
        total = ax = ay = bx = by = 0.0
        for i in range(count):
            total += weights[i]
            ax += weights[i] * source[i, 0]
            ay += weights[i] * source[i, 1]
            bx += weights[i] * target[i, 0]
            by += weights[i] * target[i, 1]
        ax, ay, bx, by = ax / total, ay / total, bx / total, by / total
        power = real = imaginary = 0.0
        for i in range(count):
            x, y = source[i, 0] - ax, source[i, 1] - ay
            u, v = target[i, 0] - bx, target[i, 1] - by
            share = weights[i] / total
            power += share * (x * x + y * y)
            real += share * (x * u + y * v)
            imaginary += share * (x * v - y * u)
        if power > 1e-9:
            real, imaginary = real / power, imaginary / power
        else:
            real, imaginary = 1.0, 0.0
        fitted[0, 0], fitted[0, 1], fitted[0, 2] = real, -imaginary, bx - (real * ax - imaginary * ay)
        fitted[1, 0], fitted[1, 1], fitted[1, 2] = imaginary, real, by - (imaginary * ax + real * ay)
        if done == rounds:
            break
        for i in range(count):
            x = real * source[i, 0] - imaginary * source[i, 1] + fitted[0, 2] - target[i, 0]
            y = imaginary * source[i, 0] + real * source[i, 1] + fitted[1, 2] - target[i, 1]
            residuals[i] = np.sqrt(x * x + y * y)
        scale = max(reach * np.median(residuals), 1e-3)
        for i in range(count):
            weights[i] = 1 / (1 + (residuals[i] / scale) ** 2)
    return fitted
