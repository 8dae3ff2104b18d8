"""Tracks at 100 Hz read at frames: no lag, whatever the spacing of the frames."""

import numpy as np
import pytest

from operators.speech.sampling import LONGEST_HALF, frame_cells, sample_track, speech_strength

RAMP = np.arange(1000) / 100  # value = seconds


@pytest.mark.parametrize("fps", [12, 23.976, 25, 29.97, 50, 60, 120])
def test_constant_rates_have_no_lag(fps: float) -> None:
    times = 0.5 + np.arange(100) / fps
    np.testing.assert_allclose(sample_track(RAMP, times)[:-1], times[:-1], atol=3e-3)


def test_each_frame_is_the_mean_of_its_own_cell() -> None:
    times = np.array([1.0, 1.04, 1.08, 1.2, 1.21, 1.25])
    start, end = frame_cells(times)
    np.testing.assert_allclose(start, [0.98, 1.02, 1.06, 1.14, 1.205, 1.23])
    np.testing.assert_allclose(end, [1.02, 1.06, 1.14, 1.205, 1.23, 1.27])
    np.testing.assert_allclose(sample_track(RAMP, times), (start + end) / 2, atol=1e-3)


def test_fast_movement_is_averaged_not_picked() -> None:
    wiggle = np.tile([0.0, 1.0], 500)
    np.testing.assert_allclose(sample_track(wiggle, 1 + np.arange(50) / 25), 0.5, atol=0.15)
    pulse = np.zeros(1000)
    pulse[200] = 1
    assert sample_track(pulse, 1.8 + np.arange(20) / 25).sum() == pytest.approx(0.25)


def test_a_held_frame_shows_a_moment_not_a_sentence() -> None:
    start, end = frame_cells(np.array([1.0, 1.04, 3.0, 3.04]))
    assert end[1] - 1.04 == pytest.approx(LONGEST_HALF)
    assert 3.0 - start[2] == pytest.approx(LONGEST_HALF)


def test_beyond_the_track() -> None:
    track = np.linspace(1, 2, 100)
    times = np.array([-1.0, 0.5, 5.0])
    np.testing.assert_allclose(sample_track(track, times)[[0, 2]], [1, 2], atol=1e-6)
    np.testing.assert_allclose(sample_track(track, times, beyond=7)[[0, 2]], [7, 7], atol=1e-6)


def test_a_single_frame() -> None:
    assert sample_track(RAMP, np.array([2.0])) == pytest.approx(2.0)


def test_strength_lasts_as_long_as_the_speech_and_is_eased() -> None:
    times = np.arange(-20, 120) / 50
    strength = speech_strength(times, 1.0, 0.2)
    assert (strength[(times >= 0) & (times <= 1)] == 1).all()
    assert (strength[(times <= -0.2) | (times >= 1.2)] < 1e-6).all()
    assert speech_strength(np.array([1.1]), 1.0, 0.2) == pytest.approx(0.5)
    assert np.abs(np.diff(strength)).max() < 0.2
