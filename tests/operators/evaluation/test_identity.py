"""CSIM and drift of descriptors, made up and of real people."""

import math
from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.identity import csim, identity_drift
from operators.evaluation.landmark_tracks import track_landmarks


def around(middle: np.ndarray, spread: float, count: int, seed: int) -> np.ndarray:
    return middle + spread * np.random.default_rng(seed).normal(size=(count, 128)) / math.sqrt(128)


ONE, OTHER = np.eye(2, 128)


def test_csim_is_the_cosine_with_the_mean_of_the_reference() -> None:
    assert csim(ONE[None], np.stack([ONE, OTHER])) == pytest.approx(math.sqrt(0.5))
    assert csim(3 * ONE[None], ONE[None]) == pytest.approx(1)
    assert csim(-ONE[None], ONE[None]) == pytest.approx(-1)
    with pytest.raises(ValueError, match="0 descriptors against 1"):
        csim(np.zeros((0, 128)), ONE[None])


def test_drift_grows_with_the_way_from_the_person() -> None:
    times = np.arange(30) / 2
    reference = ONE[None]
    steady = around(ONE, 0.1, 30, 0)
    assert identity_drift(times, steady, reference) == pytest.approx(0, abs=0.03)
    away = ONE + np.linspace(0, 1, 30)[:, None] * (OTHER - ONE)
    # Distances grow evenly from 0 to sqrt(2): the mean of the last third is 2/3 of it above that of the first.
    assert identity_drift(times, away, reference) == pytest.approx(2 / 3 * math.sqrt(2), rel=0.05)
    assert identity_drift(times, away[::-1], reference) == pytest.approx(-2 / 3 * math.sqrt(2), rel=0.05)
    assert math.isnan(identity_drift(times[:5], away[:5], reference))


def test_a_real_person_is_followed_and_resembles_himself(carphone: Path) -> None:
    track = track_landmarks(str(carphone))
    assert track.landmarks.shape == (len(track.times), 68, 2)
    assert track.found.mean() > 0.9
    assert np.allclose(np.diff(track.times), 1 / 30, atol=1e-3)
    low, high = track.landmarks[track.found].min((0, 1)), track.landmarks[track.found].max((0, 1))
    assert (low > -20).all()
    assert (high < np.array([176, 144]) + 20).all()
    assert csim(track.descriptors[:5], track.descriptors[5:]) > 0.95
    # dlib takes distances below 0.6 for one person; within one clip they drift less than half of that.
    times = track.times[track.described]
    assert abs(identity_drift(times, track.descriptors, track.descriptors[:3])) < 0.3
