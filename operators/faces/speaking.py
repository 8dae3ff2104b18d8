"""Speakers of a picture: its mouths held against the sound that goes with it.

A mouth that speaks opens and widens when the sound says that one does (`operators.speech.predictor`); one that talks about something
else, chews or smiles does not. Wrong is worse than none: unless it is nearly certain who speaks, nobody does.

A hidden Markov model: its states are the people, each with lags of their own, and nobody; what a person's mouth and the sound say
together is the likelihood ratio of pairs of standard normal variables that correlate with `CORRELATION` against pairs that do not.
Forward-backward smoothing (Rabiner 1989) gives the probability of each state in each frame, averaged over the lags that picture and
sound may have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from operators.numeric.masks import runs

#: Nobody speaks, or it cannot be said who does.
NOBODY = -1
#: Probability from which on somebody speaks.
CERTAIN = 0.95
#: Correlation with the sound that a turn needs besides, and lead over anybody else's, both over the square root of its seconds of speech:
#: chance agrees less and less the longer it is, and samples are not as independent as the model has it.
LEAST, DOUBT, LEAD = 0.25, 0.4, 0.4
#: What of a mouth is held against the sound: its opening (`geometry.lip_opening`) and its width (`geometry.mouth_width`). Their
#: correlation with what the sound asks for, if that mouth speaks, as the predictor does on real clips.
CORRELATION = (0.5, 0.45)
#: Deviation of opening and width, in eye distances, below which they hardly move.
MOVING = (0.02, 0.01)
#: Log likelihood that speaking loses for each sample where opening and width do not move at all in a `GLANCE`: a width stays more often.
STILL_COST = (0.5, 0.2)
#: Log likelihood that speaking loses for each sample of either where the mouth is not seen.
UNSEEN_COST = 0.6
#: Independent samples of the opening in a second, and of the width.
SAMPLES = 11.0
#: Standard deviation, in seconds, of the window whose mean and spread are taken out of mouth and sound.
WINDOW = 0.5
#: Standard deviation, in seconds, of the window in which a mouth is asked whether it moves.
GLANCE = 0.3
#: Deviations beyond which samples count no further: single frames decide nothing.
MOST = 2.5
#: Seconds by which mouths may lag behind the sound: negative where the sound is late. One value for all people of a shot.
LAGS = (-0.36, 0.12)
#: Log likelihood that a second of lag costs.
LAG_COST = 3.75
#: Seconds by which a person's lag may differ from the shot's, at most and as a standard deviation: lips come before their sound by more
#: or less, and pictures of a conference come over lines of their own.
OWN_LAG, OWN_SPREAD = 0.08, 0.06
#: Seconds between the lags that are tried, at least.
LAG_STEP = 0.04
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


def find_turns(mouths: np.ndarray, heard: np.ndarray, silence: np.ndarray, times: np.ndarray) -> Turns:
    """Find who speaks in each frame of a shot.

    Args:
        mouths: float[P, 2, T], opening and width of each person's mouth, NaN where it is not seen.
        heard: float[2, T], opening and width that the sound asks for at the frames' times, as of `MouthTrack`.
        silence: float[T], 0 speech ... 1 none.
        times: float64[T] seconds, ascending.
    """
    people, _, count = mouths.shape
    if not people or count < 2:
        return Turns(np.full(count, NOBODY), np.zeros(count, bool))
    step = float(np.clip(np.median(np.diff(times)), 1e-3, 0.2))
    spoken = gaussian_filter1d(1 - np.clip(np.asarray(silence, np.float64), 0, 1), 0.1 / step, mode="nearest")
    lags, own, every = _lags(step)
    evidence, agreement = _compared(
        mouths, [[_shifted(one, int(lag)) for one in heard] for lag in every], spoken, step
    )
    weight = np.exp(-((own * step / OWN_SPREAD) ** 2) / 2)
    prior = np.append(np.tile(weight / weight.sum(), people) * (1 - NOBODY_SHARE) / people, NOBODY_SHARE)
    # A lag of the shot and one of somebody's own: the row of `every`.
    row = np.arange(len(lags))[:, None] + np.arange(len(own))
    states = evidence[row].transpose(0, 2, 1, 3).reshape(len(lags), -1, count)
    chances, likelihood = _smoothed(states, 1 - np.exp(-step / TURN), prior)
    likelihood -= LAG_COST * np.abs(lags) * step
    share = np.exp(likelihood - likelihood.max())
    chances *= (share / share.sum())[:, None, None]
    chance = np.zeros_like(evidence)
    np.add.at(chance, row, chances[:, :-1].reshape(len(lags), people, len(own), count).swapaxes(1, 2))
    speaks = chance.sum(axis=0)
    speaker = np.where(speaks.max(axis=0) >= CERTAIN, speaks.argmax(axis=0), NOBODY)
    for one in range(people):
        for start, stop in runs(speaker == one):
            late = chance[:, one, start:stop].sum(axis=1)
            seconds = max(float(spoken[start:stop].sum()) * step, 0.2)
            mean = late / late.sum() @ agreement[:, :, start:stop].sum(axis=2) * step / seconds
            ahead = mean[one] - np.delete(mean, one).max(initial=-1.0)
            if mean[one] < LEAST + DOUBT / np.sqrt(seconds) or ahead < LEAD / np.sqrt(seconds):
                speaker[start:stop] = NOBODY
    nobody = chances[:, -1].sum(axis=0)
    return Turns(speaker, (speaker == NOBODY) & (nobody < 0.5) & (spoken > 0.5))


def _lags(step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lags int64[L] of a shot, int64[D] of a person beside it, and int64[L + D - 1] of both, frames of ``step`` seconds, ascending."""
    pace = max(1, round(LAG_STEP / step))
    lags = np.arange(round(LAGS[0] / step), round(LAGS[1] / step) + 1, pace)
    most = pace * round(OWN_LAG / (pace * step))
    own = np.arange(-most, most + 1, pace)
    return lags, own, np.arange(lags[0] - most, lags[-1] + most + 1, pace)


def _compared(
    mouths: np.ndarray, heard: Sequence[Sequence[np.ndarray]], spoken: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Evidence and agreement float64[L, P, T] of each person's mouth with what is heard at each of L lags: the sum, and the mean, of
    those of opening and width.
    """
    evidence = np.zeros((len(heard), len(mouths), len(spoken)))
    agreement = np.zeros_like(evidence)
    for person, mouth in enumerate(mouths):
        for side, track in enumerate(mouth):
            moving = _Movement(track, spoken, step, side)
            for lag, tracks in enumerate(heard):
                asked = moving.asked(tracks[side])
                evidence[lag, person] += moving.evidence(asked)
                agreement[lag, person] += moving.agreement(asked) / len(mouth)
    return evidence, agreement


class _Movement:
    """Opening or width of a mouth, float[T], in the measure of its own spread.

    Args:
        track: eye distances, NaN where the mouth is not seen.
        spoken: float64[T], 0 silence ... 1 speech.
        step: seconds between frames.
        side: 0 for the opening, 1 for the width.
    """

    def __init__(self, track: np.ndarray, spoken: np.ndarray, step: float, side: int) -> None:
        self.seen = np.isfinite(track)
        self.weight, self.spoken, self.step = spoken * self.seen + 1e-6, spoken, step
        self.correlation, self.still_cost = CORRELATION[side], STILL_COST[side]
        if self.seen.sum() < 2:
            self.seen = np.zeros(len(track), bool)
            track = np.zeros(len(track))
        else:
            track = np.interp(np.arange(len(track)), np.flatnonzero(self.seen), track[self.seen])
        self.total = {
            sigma: gaussian_filter1d(self.weight, sigma / step, mode="constant") + 1e-12
            for sigma in (WINDOW, GLANCE)
        }
        moves, spread = self._local(track, WINDOW)
        self.moves = np.clip(moves / np.maximum(spread, MOVING[side]), -MOST, MOST)
        self.stillness = np.maximum(0, 1 - self._local(track, GLANCE)[1] / (0.6 * MOVING[side]))

    def asked(self, heard: np.ndarray) -> np.ndarray:
        """float64[T] of what is ``heard``, in the measure of its own spread where this mouth is seen."""
        moves, spread = self._local(np.asarray(heard, np.float64), WINDOW)
        usual = np.sqrt((self.weight * moves**2).sum() / self.weight.sum())
        return np.clip(moves / np.maximum(spread, 0.5 * usual + 0.1), -MOST, MOST)

    def agreement(self, asked: np.ndarray) -> np.ndarray:
        """float64[T]: what each frame adds to the correlation with what is ``asked``; 0 in silence and where it is not seen."""
        return self.moves * asked * self.seen * self.spoken

    def evidence(self, asked: np.ndarray) -> np.ndarray:
        """float64[T]: log likelihood of each frame if this mouth speaks what is ``asked``, less that if it does not."""
        r, rest = self.correlation, 1 - self.correlation**2
        ratio = r * self.moves * asked - r**2 * (self.moves**2 + asked**2) / 2
        sample = ratio / rest - np.log(rest) / 2 - self.still_cost * self.stillness
        return np.where(self.seen, sample, -UNSEEN_COST) * SAMPLES * self.step * self.spoken

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


def _smoothed(evidence: np.ndarray, change: float, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float64[L, S + 1, T] of the states and nobody, and the log likelihood float64[L] of the whole.

    Args:
        evidence: float64[L, S, T], log likelihood ratio of each state against nobody; each of L independent.
        change: probability that a turn ends with a frame.
        prior: float64[S + 1], of the states and nobody, where a turn begins.
    """
    many, _, count = evidence.shape
    logs = np.concatenate([evidence, np.zeros((many, 1, count))], axis=1)
    top = logs.max(axis=1, keepdims=True)
    given, likelihood = np.exp(logs - top), top.sum(axis=(1, 2))
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
