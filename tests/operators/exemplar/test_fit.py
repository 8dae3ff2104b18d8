"""The speaker's fit: amplitude, closed level, floors and caps; silence and closures."""

import numpy as np
import pytest

from operators.exemplar.fit import Speaker, fit_speaker, long_silence, soft_limits, wanted_mouths
from operators.exemplar.mouths import Mouths
from tests.operators.exemplar.talker import speech_like


def speaker_of(opening: np.ndarray, seconds: float = 0.04) -> Speaker:
    mouths = Mouths(opening, np.full(len(opening), 0.8) - 0.2 * opening, 62.0)
    return fit_speaker(mouths, np.ones(len(opening), bool), seconds)


def talking(count: int = 500, middle: float = 0.08, spread: float = 0.05) -> np.ndarray:
    return np.maximum(middle + spread * speech_like(count, 5), 0.012)


@pytest.mark.parametrize(("middle", "spread"), [(0.07, 0.035), (0.1, 0.06), (0.15, 0.08)])
def test_amplitude_is_the_speakers_own(middle: float, spread: float) -> None:
    own, level = talking(500, middle, spread), speech_like(500, 9)
    wanted = speaker_of(own).opening(level)
    assert 0.8 < wanted.std() / own.std() < 1.2
    assert np.allclose(np.quantile(wanted, [0.1, 0.5, 0.9]), np.quantile(own, [0.1, 0.5, 0.9]), atol=0.022)
    assert np.corrcoef(wanted, level)[0, 1] > 0.96, "the map bends little"


def test_map_is_monotone_and_bounded() -> None:
    speaker = speaker_of(talking())
    opening = speaker.opening(np.linspace(-9, 9, 400))
    assert np.all(np.diff(opening) >= 0)
    assert opening[0] >= speaker.meet
    assert opening[-1] <= speaker.top


def test_long_rest_does_not_dilute_the_amplitude() -> None:
    quiet = np.full(1500, 0.015) + np.random.default_rng(0).normal(0, 0.001, 1500)
    busy, diluted = speaker_of(talking()), speaker_of(np.concatenate([quiet, talking()]))
    assert np.isclose(busy.openings[5], diluted.openings[5], rtol=0.15)


def test_a_yawn_makes_nobody_gape_and_a_mumbler_still_moves() -> None:
    yawn = talking()
    yawn[200:260] = 0.6
    assert speaker_of(yawn).top <= 0.34
    mumble = np.maximum(0.04 + 0.02 * speech_like(500, 3), 0.01)
    mumble[0:8] = 0.1
    speaker = speaker_of(mumble)
    assert speaker.moves
    assert speaker.opening(speech_like(300, 1)).std() > 1.2 * mumble.std()


@pytest.mark.parametrize(
    ("opening", "moves"),
    [
        (np.array([0.02]), False),
        (np.full(500, 0.02), False),
        (0.14 + 0.006 * speech_like(500, 1), False),
        (0.03 + 0.008 * speech_like(500, 1), False),
        (np.array([0.01, 0.03, 0.06, 0.09]), False),
        (np.array([0.01, 0.03, 0.06, 0.09, 0.08]), True),  # the last words before a cut
        (talking(), True),
    ],
    ids=["picture", "shut", "smiling", "hardly", "four frames", "five frames", "talking"],
)
def test_footage_without_mouths_to_choose_from_is_said(opening: np.ndarray, moves: bool) -> None:
    speaker = speaker_of(opening)
    assert speaker.moves == moves
    assert 0.02 < speaker.opening(speech_like(300, 2)).std() < 0.1, "the mouth moves plausibly in either case"


def test_lips_meet_where_they_must() -> None:
    speaker, level = speaker_of(talking()), np.full(9, 0.5)
    closure = np.array([0, 0, 0, 0.5, 1, 0.5, 0, 0, 0])
    wanted = wanted_mouths(speaker, level, level, closure, np.zeros(9), np.arange(9) / 25).opening
    assert wanted[4] < speaker.meet + 0.08 * (wanted[0] - speaker.meet)
    assert wanted[4] < wanted[3] < wanted[2] <= wanted[0]
    assert wanted[0] > 0.95 * speaker.opening(level)[0]


def test_short_pauses_do_nothing_and_long_silence_closes_softly() -> None:
    speaker, times = speaker_of(talking()), np.arange(60) / 25
    level, silence = np.full(60, 0.6), np.zeros(60)
    silence[5:10], silence[25:50] = 1, 1
    wanted = wanted_mouths(speaker, level, level, np.zeros(60), silence, times).opening
    assert np.allclose(wanted[:20], wanted[0])
    assert np.isclose(wanted[37], min(speaker.rest, wanted[0]), atol=1e-6)
    assert np.abs(np.diff(wanted)).max() < 0.6 * (wanted[0] - wanted[37]), "over several frames"


def test_a_silent_mouth_stays_where_it_is_whatever_the_predictor_says() -> None:
    speaker, times = speaker_of(talking()), np.arange(80) / 25
    silence = np.zeros(80)
    silence[20:60] = 1
    level = speech_like(80, 3)
    wanted = wanted_mouths(speaker, level, level, np.zeros(80), silence, times)
    assert np.ptp(wanted.opening[28:52]) < 1e-3
    assert wanted.opening[40] <= np.quantile(talking(), 0.06) + 1e-6, "as far closed as this mouth closes"
    assert wanted.quiet is not None
    assert wanted.take(slice(28, 52)).quiet.min() > 0.99
    assert wanted.quiet[:15].max() == 0


def test_silence_leaves_a_mouth_open_that_is_open_at_rest() -> None:
    own = np.maximum(0.12 + 0.04 * speech_like(500, 6), 0.07)
    speaker, silent = speaker_of(own), np.ones(50)
    wanted = wanted_mouths(speaker, -2 * silent, silent, 0 * silent, silent, np.arange(50) / 25).opening
    assert wanted.min() > 0.05


def test_long_silence_counts_seconds_not_frames() -> None:
    silence = np.zeros(40)
    silence[10:20] = 1
    assert long_silence(silence, np.arange(40) / 60).max() == 0
    assert long_silence(silence, np.arange(40) / 10).max() == 1
    uneven = np.cumsum(np.where((np.arange(40) == 14), 1.0, 1 / 60))
    assert long_silence(silence, uneven).max() > 0, "one frame held for a second is long, too"


def test_no_more_nervous_than_the_speaker() -> None:
    own = talking()
    speaker, times = speaker_of(own), np.arange(500) / 25
    hasty = speech_like(500, 8, rate=11.0)
    still, silent = np.zeros(500), np.zeros(500)
    wanted = wanted_mouths(speaker, hasty, still, still, silent, times).opening
    assert np.abs(np.diff(speaker.opening(hasty), 2)).mean() > 1.5 * np.abs(np.diff(own, 2)).mean()
    assert np.abs(np.diff(wanted, 2)).mean() < 1.2 * np.abs(np.diff(own, 2)).mean()
    assert np.corrcoef(wanted, hasty)[0, 1] > 0.75
    usual = speech_like(500, 8)
    kept = wanted_mouths(speaker, usual, still, still, silent, times).opening
    assert kept.std() > 0.9 * speaker.opening(usual).std(), "ordinary speech keeps its amplitude"


def test_soft_limits() -> None:
    values = np.linspace(-1, 2, 301)
    held = soft_limits(values, 0.0, 1.0)
    assert np.all(np.diff(held) >= 0)
    assert held.min() >= 0
    assert held.max() <= 1
    assert np.isclose(held[150], 0.5, atol=1e-3)
