"""Agreement of mouths with speech: in step, late, early, standing, and moving in silence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from operators.evaluation.agreement import (
    FRAME,
    LAGS,
    Mouths,
    correlations,
    lag_of,
    pooled,
    silent_motion,
    standing,
)
from operators.evaluation.heard import Heard

SECONDS = 6.0


@pytest.fixture
def heard() -> Heard:
    """Six seconds of speech that asks for an irregular mouth, the last two of them silent."""
    times = np.arange(int(100 * SECONDS) + 1) / 100
    opening = np.sin(2 * np.pi * 2.3 * times) + np.sin(2 * np.pi * 0.9 * times + 1)
    silence = (times > 4).astype(np.float32)
    return Heard(SECONDS, np.full(len(times), -20.0), np.where(silence > 0, -1.3, opening), silence)


def mouths(heard: Heard, late: float = 0.0, noise: float = 0.3) -> Mouths:
    at = np.arange(0, SECONDS, 0.08)
    rng = np.random.default_rng(1)
    opening = 0.1 + 0.03 * (heard.at("opening", at - late) + noise * rng.standard_normal(len(at)))
    return Mouths(at, opening)


@pytest.mark.parametrize("frames", [0, 6, -6, 9])
def test_a_shift_of_the_sound_is_found(heard: Heard, frames: int) -> None:
    curve = correlations(mouths(heard, frames * FRAME), heard)
    assert abs(lag_of(curve) - frames) <= 1
    assert (curve[LAGS] > 0.8) == (frames == 0)


def test_a_mouth_that_says_something_else_has_no_lag(heard: Heard) -> None:
    at = np.arange(0, SECONDS, 0.08)
    curve = correlations(Mouths(at, 0.1 + 0.03 * np.random.default_rng(2).standard_normal(len(at))), heard)
    assert abs(curve[LAGS]) < 0.3
    assert math.isnan(lag_of(curve))


def test_a_few_mouths_are_not_enough(heard: Heard) -> None:
    whole = mouths(heard)
    curve = correlations(Mouths(whole.at[:15], whole.opening[:15]), heard)
    assert np.isnan(curve).all()
    assert np.isnan(pooled([curve], [15])).all()
    good = correlations(whole, heard)
    assert pooled([curve, good], [15, 75])[LAGS] == pytest.approx(good[LAGS])


def test_a_standing_mouth_is_found_where_it_stands(heard: Heard) -> None:
    whole = mouths(heard)
    assert standing(whole, heard) == (0.0, 0.0)
    opening = np.where((whole.at > 0.9) & (whole.at < 3.3), 0.1, whole.opening)
    seconds, start = standing(Mouths(whole.at, opening), heard)
    assert seconds == pytest.approx(2.4, abs=0.3)
    assert start == pytest.approx(0.9, abs=0.2)
    still = Mouths(whole.at, np.where(whole.at > 4.2, 0.1, whole.opening))
    assert standing(still, heard)[0] == 0, "nobody speaks there"


def test_motion_in_silence(heard: Heard) -> None:
    assert silent_motion(mouths(heard, noise=0.02), heard) < 0.1
    at = np.arange(0, SECONDS, 0.08)
    assert silent_motion(Mouths(at, 0.1 + 0.05 * np.sin(2 * np.pi * 2 * at)), heard) == pytest.approx(
        1, abs=0.2
    )
    assert math.isnan(silent_motion(Mouths(at[:40], at[:40]), heard))
