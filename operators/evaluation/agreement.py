"""Agreement of a drawn mouth with the speech, from the openings that `operators.evaluation.watch` has measured.

The expected mouth is `operators.evaluation.heard.Heard.opening`, by the spectrum alone and not what the engine planned. Real
speakers' own mouths correlate with it by 0.2 to 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operators.evaluation.heard import Heard
from operators.numeric.masks import runs

#: Lags that are tried, frames of 25 a second on either side, and the seconds of one.
LAGS, FRAME = 12, 0.04
#: Mouths (some 8 a second) that a correlation needs.
LEAST = 20
#: A lag counts where the correlation there is at least so high, and so much higher than in step.
CLEAR, GAIN = 0.35, 0.2
#: A mouth stands where it opens and closes by less than this, eye distances, in the seconds around.
STILL, AROUND = 0.04, 0.6
#: Share of the time around that has to be speech for a standing mouth to count.
SPOKEN = 0.7
#: `Heard.silence` above which nobody speaks, and below which somebody does.
SILENT, LOUD = 0.8, 0.5
#: Steps in silence, and in speech, that a comparison of their motion needs; seconds of a step at most.
LEAST_STEPS, STEP = 5, 0.2


@dataclass(frozen=True)
class Mouths:
    """Measured mouths of one stretch of an output, those that were dubbed while there is speech.

    Attributes:
        at: float64[K] seconds of the output.
        opening: float64[K] eye distances.
    """

    at: np.ndarray
    opening: np.ndarray


def correlations(mouths: Mouths, heard: Heard) -> np.ndarray:
    """Return Pearson's r of the openings with the expected ones at each lag: float64[2 LAGS + 1], from a mouth that leads by
    `LAGS` frames to one that is as late; NaN with fewer than 20 mouths, or where one of the two stands.
    """
    found = np.full(2 * LAGS + 1, np.nan)
    for number, lag in enumerate(range(-LAGS, LAGS + 1)):
        asked = mouths.at - lag * FRAME
        inside = (asked >= 0) & (asked <= heard.seconds)
        opening, expected = mouths.opening[inside], heard.at("opening", asked[inside])
        if len(opening) >= LEAST and opening.std() > 1e-6 and expected.std() > 1e-6:
            found[number] = np.corrcoef(opening, expected)[0, 1]
    return found


def pooled(curves: Sequence[np.ndarray], weights: Sequence[int]) -> np.ndarray:
    """Return the mean of the curves of several shots, float64[2 LAGS + 1], weighted; those without a value are left out."""
    known = [
        (curve, weight) for curve, weight in zip(curves, weights, strict=True) if np.isfinite(curve[LAGS])
    ]
    if not known:
        return np.full(2 * LAGS + 1, np.nan)
    values = np.nan_to_num(np.array([curve for curve, _ in known]), nan=-1.0)
    return np.average(values, axis=0, weights=[weight for _, weight in known])


def lag_of(curve: np.ndarray) -> float:
    """Return by how many frames of 25 a second the mouth is late (negative: early): 0 where no lag is clearly better than
    none, NaN where the mouth follows the speech at no lag.
    """
    if not np.isfinite(curve[LAGS]):
        return math.nan
    best = int(np.nanargmax(curve))
    if curve[best] < CLEAR:
        return math.nan
    return float(best - LAGS) if curve[best] - curve[LAGS] >= GAIN else 0.0


def standing(mouths: Mouths, heard: Heard) -> tuple[float, float]:
    """Return the seconds of the longest stretch of speech during which the mouth stands, and when it starts; 0 and 0 where
    there is none.
    """
    at, opening = mouths.at, mouths.opening
    loud = heard.at("silence", at) < LOUD
    low, high = np.searchsorted(at, at - AROUND), np.searchsorted(at, at + AROUND, side="right")
    still = np.zeros(len(at), bool)
    for number, (start, stop) in enumerate(zip(low, high)):
        whole = stop - start >= 6 and at[stop - 1] - at[start] > 1.5 * AROUND
        if whole and loud[start:stop].mean() >= SPOKEN:
            still[number] = np.ptp(opening[start:stop]) < STILL
    if not still.any():
        return 0.0, 0.0
    length, start = max((at[stop - 1] - at[start], start) for start, stop in runs(still))
    return float(length + 2 * AROUND), float(max(0.0, at[start] - AROUND))


def silent_motion(mouths: Mouths, heard: Heard) -> float:
    """Return the mean motion of the mouth while nobody speaks over that while somebody does; NaN with less than half a second
    of either.
    """
    silence = heard.at("silence", mouths.at)
    steps, near = np.abs(np.diff(mouths.opening)), np.diff(mouths.at) < STEP
    quiet = near & (silence[1:] > SILENT) & (silence[:-1] > SILENT)
    loud = near & (silence[1:] < LOUD) & (silence[:-1] < LOUD)
    if min(quiet.sum(), loud.sum()) < LEAST_STEPS or steps[loud].mean() < 1e-6:
        return math.nan
    return float(steps[quiet].mean() / steps[loud].mean())
