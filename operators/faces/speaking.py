"""Speakers of a picture: its mouths held against the sound that goes with it.

A mouth that speaks opens when the sound says that one does (`operators.speech.predictor`); one that talks about something
else, chews or smiles does not. Wrong is worse than none: below a margin nobody speaks.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter1d

from operators.numeric.masks import runs

#: Nobody speaks, or it cannot be said who does.
NOBODY = -1
#: Standard deviation, in seconds, of the window in which mouth and sound are compared.
WINDOW = 0.8
#: Seconds by which the mouth may lag behind the sound: negative where the sound is late. One value for all people of a shot.
LAGS = (-0.36, 0.12)
#: Agreement that a second of lag costs.
LAG_COST = 1.0
#: Deviation of the opening, in eye distances, from which on a mouth counts as moving.
MOVING = 0.02
#: Agreement (a correlation, less for a mouth that hardly moves) below which nobody speaks.
LEAST = 0.2
#: Agreement times seconds that a change of the speaker costs.
CHANGE = 0.25
#: What a turn's mean agreement needs above `LEAST`, and ahead of anybody else's, over the square root of its seconds of
#: speech: chance agrees less and less the longer it is.
CERTAIN, LEAD = 0.45, 0.3


@dataclasses.dataclass(frozen=True)
class Turns:
    """Turns of a shot.

    Attributes:
        speaker: int64[T], number of the person, or `NOBODY`.
        unsure: bool[T], somebody seems to speak, and it cannot be said for certain who.
    """

    speaker: np.ndarray
    unsure: np.ndarray


def find_turns(openings: np.ndarray, heard: np.ndarray, silence: np.ndarray, times: np.ndarray) -> Turns:
    """Find who speaks in each frame of a shot.

    Args:
        openings: float[P, T] of each person's mouth (`geometry.lip_opening`), NaN where it is not seen.
        heard: float[T], opening that the sound asks for at the frames' times, as `MouthTrack.opening`.
        silence: float[T], 0 speech ... 1 none.
        times: float64[T] seconds, ascending.
    """
    people, count = openings.shape
    if not people or count < 2:
        return Turns(np.full(count, NOBODY), np.zeros(count, bool))
    step = float(np.clip(np.median(np.diff(times)), 1e-3, 0.2))
    spoken = gaussian_filter1d(1 - np.clip(np.asarray(silence, np.float64), 0, 1), 0.1 / step, mode="nearest")
    agreement = _at_best_lag(openings, heard, spoken, step)
    gain = np.vstack([(agreement - LEAST) * spoken, np.zeros(count)])
    path = _best_path(gain * step, CHANGE)
    speaker, unsure = np.where(path == people, NOBODY, path), np.zeros(count, bool)
    for one in range(people):
        for start, stop in runs(path == one):
            weight = spoken[start:stop] + 1e-9
            mean = agreement[:, start:stop] @ weight / weight.sum()
            chance = 1 / np.sqrt(max(float(weight.sum()) * step, 0.2))
            others = np.delete(mean, one).max(initial=-1.0)
            if mean[one] < LEAST + CERTAIN * chance or mean[one] - others < LEAD * chance:
                speaker[start:stop], unsure[start:stop] = NOBODY, True
    return Turns(speaker, unsure)


def _at_best_lag(openings: np.ndarray, heard: np.ndarray, spoken: np.ndarray, step: float) -> np.ndarray:
    """float64[P, T]: agreement of each mouth with the sound, at the lag where the best of them agrees best."""
    found, best = np.zeros(openings.shape), -np.inf
    for lag in range(round(LAGS[0] / step), round(LAGS[1] / step) + 1):
        one = np.array([_agreement(mouth, _shifted(heard, lag), spoken, step) for mouth in openings])
        value = float((one @ spoken).max() / max(spoken.sum(), 1e-9)) - LAG_COST * abs(lag) * step
        if value > best:
            found, best = one, value
    return found


def _agreement(opening: np.ndarray, heard: np.ndarray, spoken: np.ndarray, step: float) -> np.ndarray:
    """float64[T]: local correlation of a mouth with what is heard, weighed by speech; -1 ... 1, 0 where it is not seen."""
    seen = np.isfinite(opening)
    if seen.sum() < 2:
        return np.zeros(len(opening))
    mouth = np.interp(np.arange(len(opening)), np.flatnonzero(seen), opening[seen])
    weight = spoken * seen + 1e-6
    sigma = WINDOW / step

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter1d(values * weight, sigma, mode="constant") / total

    total = gaussian_filter1d(weight, sigma, mode="constant") + 1e-12
    a, b = mouth - mouth.mean(), heard - heard.mean()
    mean_a, mean_b = mean(a), mean(b)
    spread_a = np.sqrt(np.maximum(mean(a * a) - mean_a**2, 1e-12))
    spread_b = np.sqrt(np.maximum(mean(b * b) - mean_b**2, 1e-12))
    r = (mean(a * b) - mean_a * mean_b) / (spread_a * np.maximum(spread_b, 0.2))
    return np.where(seen, r * np.minimum(spread_a / MOVING, 1), 0)


def _shifted(track: np.ndarray, frames: int) -> np.ndarray:
    """A track that is ``frames`` late, its ends held."""
    return np.asarray(track, np.float64)[np.clip(np.arange(len(track)) - frames, 0, len(track) - 1)]


def _best_path(gain: np.ndarray, cost: float) -> np.ndarray:
    """int64[T]: the state of each frame with the largest sum of gains float64[S, T], each change costing ``cost``."""
    states, count = gain.shape
    best, back = gain[:, 0].copy(), np.zeros((states, count), np.int64)
    for t in range(1, count):
        top = int(np.argmax(best))
        moved = best[top] - cost
        stay = best >= moved
        back[:, t] = np.where(stay, np.arange(states), top)
        best = np.where(stay, best, moved) + gain[:, t]
    path = np.zeros(count, np.int64)
    path[-1] = int(np.argmax(best))
    for t in range(count - 1, 0, -1):
        path[t - 1] = back[path[t], t]
    return path
