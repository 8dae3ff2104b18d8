"""Speakers of a picture: its mouths held against the sound that goes with it.

A mouth that speaks opens when the sound says that one does (`operators.speech.predictor`); one that talks about something
else, chews or smiles does not. Wrong is worse than none: unless it is nearly certain who speaks, nobody does.

A hidden Markov model: its states are the people and nobody; what a person's mouth and the sound say together is the likelihood
ratio of two standard normal variables that correlate with `CORRELATION` against two that do not. Forward-backward smoothing (Rabiner
1989) gives the probability of each state in each frame, averaged over the lags that picture and sound may have.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter1d

from operators.numeric.masks import runs

#: Nobody speaks, or it cannot be said who does.
NOBODY = -1
#: Probability from which on somebody speaks.
CERTAIN = 0.9
#: Correlation with the sound that a turn needs besides, and lead over anybody else's, both over the square root of its seconds of speech:
#: chance agrees less and less the longer it is, and samples are not as independent as the model has it.
LEAST, DOUBT, LEAD = 0.2, 0.6, 0.5
#: Correlation of a speaking mouth with the opening that its sound asks for, as the predictor does on real clips.
CORRELATION = 0.5
#: Independent samples of a mouth in a second.
SAMPLES = 14.0
#: Standard deviation, in seconds, of the window whose mean and spread are taken out of mouth and sound.
WINDOW = 0.5
#: Standard deviation, in seconds, of the window in which a mouth is asked whether it moves.
GLANCE = 0.3
#: Deviation of the opening, in eye distances, below which a mouth hardly moves (half of that, or so, in a `GLANCE`), and the log
#: likelihood that speaking then loses for each sample.
MOVING, STILL_COST = 0.02, 0.5
#: Deviations beyond which samples count no further: single frames decide nothing.
MOST = 2.5
#: Seconds by which the mouth may lag behind the sound: negative where the sound is late. One value for all people of a shot.
LAGS = (-0.36, 0.12)
#: Log likelihood that a second of lag costs.
LAG_COST = 3.75
#: Mean seconds of a turn, and share of the time in which nobody in the picture speaks.
TURN, NOBODY_SHARE = 4.0, 0.5


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
    lags = np.arange(round(LAGS[0] / step), round(LAGS[1] / step) + 1)
    mouths = [_Mouth(opening, spoken, step) for opening in openings]
    evidence = np.array([[mouth.evidence(_shifted(heard, int(lag))) for mouth in mouths] for lag in lags])
    chances, likelihood = _smoothed(evidence, 1 - np.exp(-step / TURN))
    likelihood -= LAG_COST * np.abs(lags) * step
    weight = np.exp(likelihood - likelihood.max())
    chance = np.tensordot(weight / weight.sum(), chances, 1)
    certain = chance[:-1].max(axis=0) >= CERTAIN
    speaker = np.where(certain, chance[:-1].argmax(axis=0), NOBODY)
    late = _shifted(heard, int(lags[np.argmax(likelihood)]))
    agreement = np.array([mouth.agreement(late) for mouth in mouths])
    for one in range(people):
        for start, stop in runs(speaker == one):
            seconds = max(float(spoken[start:stop].sum()) * step, 0.2)
            mean = agreement[:, start:stop].sum(axis=1) * step / seconds
            ahead = mean[one] - np.delete(mean, one).max(initial=-1.0)
            if mean[one] < LEAST + DOUBT / np.sqrt(seconds) or ahead < LEAD / np.sqrt(seconds):
                speaker[start:stop] = NOBODY
    return Turns(speaker, (speaker == NOBODY) & (chance[-1] < 0.5) & (spoken > 0.5))


class _Mouth:
    """A mouth of float[T] openings, in the measure of its own spread."""

    def __init__(self, opening: np.ndarray, spoken: np.ndarray, step: float) -> None:
        self.seen = np.isfinite(opening)
        self.weight, self.spoken, self.step = spoken * self.seen + 1e-6, spoken, step
        if self.seen.sum() < 2:
            self.seen = np.zeros(len(opening), bool)
            opening = np.zeros(len(opening))
        else:
            opening = np.interp(np.arange(len(opening)), np.flatnonzero(self.seen), opening[self.seen])
        self.total = {
            sigma: gaussian_filter1d(self.weight, sigma / step, mode="constant") + 1e-12
            for sigma in (WINDOW, GLANCE)
        }
        moves, spread = self._local(opening, WINDOW)
        self.moves = np.clip(moves / np.maximum(spread, MOVING), -MOST, MOST)
        self.stillness = np.maximum(0, 1 - self._local(opening, GLANCE)[1] / (0.6 * MOVING))

    def agreement(self, heard: np.ndarray) -> np.ndarray:
        """float64[T]: what each frame adds to the correlation with what is ``heard``; 0 in silence and where it is not seen."""
        return self.moves * self._asked(heard) * self.seen * self.spoken

    def evidence(self, heard: np.ndarray) -> np.ndarray:
        """float64[T]: log likelihood of each frame if this mouth speaks what is ``heard``, less that if it does not."""
        asked, rest = self._asked(heard), 1 - CORRELATION**2
        ratio = CORRELATION * self.moves * asked - CORRELATION**2 * (self.moves**2 + asked**2) / 2
        sample = ratio / rest - np.log(rest) / 2 - STILL_COST * self.stillness
        return np.where(self.seen, sample, -1.0) * SAMPLES * self.step * self.spoken

    def _asked(self, heard: np.ndarray) -> np.ndarray:
        moves, spread = self._local(np.asarray(heard, np.float64), WINDOW)
        usual = np.sqrt((self.weight * moves**2).sum() / self.weight.sum())
        return np.clip(moves / np.maximum(spread, 0.5 * usual + 0.1), -MOST, MOST)

    def _local(self, track: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """A track without its mean in a window of ``sigma`` seconds (`WINDOW` or `GLANCE`), weighed by speech, and the deviation there."""

        def mean(values: np.ndarray) -> np.ndarray:
            return (
                gaussian_filter1d(values * self.weight, sigma / self.step, mode="constant")
                / self.total[sigma]
            )

        moves = track - mean(track)
        return moves, np.sqrt(mean(moves**2))


def _shifted(track: np.ndarray, frames: int) -> np.ndarray:
    """A track that is ``frames`` late, its ends held."""
    return np.asarray(track, np.float64)[np.clip(np.arange(len(track)) - frames, 0, len(track) - 1)]


def _smoothed(evidence: np.ndarray, change: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float64[L, P + 1, T] of the people and nobody, and the log likelihood float64[L] of the whole.

    Args:
        evidence: float64[L, P, T], log likelihood ratio of each person's speaking; each of L independent.
        change: probability that a turn ends with a frame.
    """
    many, people, count = evidence.shape
    logs = np.concatenate([evidence, np.zeros((many, 1, count))], axis=1)
    top = logs.max(axis=1, keepdims=True)
    given, likelihood = np.exp(logs - top), top.sum(axis=(1, 2))
    prior = np.append(np.full(people, (1 - NOBODY_SHARE) / people), NOBODY_SHARE)
    forward, backward = np.empty_like(given), np.ones_like(given)
    state = np.tile(prior, (many, 1))
    for t in range(count):
        state = ((1 - change) * state + change * prior) * given[..., t]
        total = state.sum(axis=1, keepdims=True)
        state /= total
        likelihood += np.log(total[:, 0])
        forward[..., t] = state
    for t in range(count - 2, -1, -1):
        after = given[..., t + 1] * backward[..., t + 1]
        after = (1 - change) * after + change * (after @ prior)[:, None]
        backward[..., t] = after / after.sum(axis=1, keepdims=True)
    chances = forward * backward
    return chances / chances.sum(axis=1, keepdims=True), likelihood
