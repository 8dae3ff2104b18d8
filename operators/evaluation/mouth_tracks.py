"""Measures of a dubbed mouth: agreement with the speech, lag, and flicker.

Inputs are landmark tracks measured on decoded pictures, so that the numbers judge the file that a viewer gets
and no intermediate result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from operators.faces.geometry import eye_distance, lip_opening


@dataclass(frozen=True)
class LagCorrelation:
    """Pearson correlation of two mouth tracks: ``r`` at lag 0, ``best_r`` at ``best_lag`` frames (positive:
    the second one is late).
    """

    r: float
    best_r: float
    best_lag: float


def resample(times: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Linear interpolation of float[T] ``values`` at ``times`` (s) onto ``grid`` (s); outside the times: NaN."""
    return np.interp(grid, times, values, left=np.nan, right=np.nan)


def lag_correlation(
    times_a: np.ndarray,
    values_a: np.ndarray,
    times_b: np.ndarray,
    values_b: np.ndarray,
    *,
    rate: float = 25.0,
    max_lag: int = 10,
) -> LagCorrelation:
    """Correlate track B with track A and find how many frames late it is.

    Args:
        times_a: float[Ta] seconds of track A's frames, ascending.
        values_a: float[Ta], e.g. the inner-lip opening of the person who really spoke.
        times_b: float[Tb] seconds of track B's frames.
        values_b: float[Tb], e.g. the opening of the dubbed result.
        rate: frames a second of the common grid; lags are counted in its frames.
        max_lag: lags -max_lag ... max_lag are tried.

    Returns:
        Correlations; NaN where fewer than one second of both tracks overlaps.
    """
    stop = min(times_a[-1], times_b[-1])
    start = max(times_a[0], times_b[0])
    grid = np.arange(start, stop, 1.0 / rate)
    a = resample(times_a, values_a, grid)

    def at(lag: int) -> float:
        b = resample(times_b - lag / rate, values_b, grid)
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() < rate or a[both].std() < 1e-9 or b[both].std() < 1e-9:
            return float("nan")
        return float(np.corrcoef(a[both], b[both])[0, 1])

    curve = np.array([at(lag) for lag in range(-max_lag, max_lag + 1)])
    if not np.isfinite(curve).any():
        return LagCorrelation(float("nan"), float("nan"), float("nan"))
    best = int(np.nanargmax(curve))
    return LagCorrelation(curve[max_lag], curve[best], float(best - max_lag))


def opening_track(landmarks: np.ndarray, sigma: float = 0.7) -> np.ndarray:
    """Inner-lip opening over the distance of the eyes, float64[T], of landmarks float[T,68,2]; lightly
    smoothed over ``sigma`` frames.
    """
    values = lip_opening(landmarks)
    return gaussian_filter1d(values, sigma) if len(values) > 3 else values


def flicker(landmarks: np.ndarray) -> float:
    """Mean second temporal difference of the 20 mouth landmarks in per cent of the distance of the eyes.

    Args:
        landmarks: float[T,68,2] of consecutive frames, T >= 3; the nose's movement is taken out first.
    """
    if len(landmarks) < 3:
        raise ValueError(f"flicker needs at least 3 consecutive frames, got {len(landmarks)}")
    points = landmarks.astype(np.float64)
    scale = np.median(eye_distance(points))
    mouth = points[:, 48:68] - points[:, 27:36].mean(axis=1, keepdims=True)
    second = mouth[2:] - 2 * mouth[1:-1] + mouth[:-2]
    return float(100 * np.linalg.norm(second, axis=2).mean() / scale)
