"""The measures find what was put in."""

import numpy as np
import pytest

from operators.evaluation.mouth_tracks import flicker, lag_correlation, opening_track
from operators.faces.geometry import lip_opening


def talking(n: int, rate: float, delay: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Times and a band-limited random opening that comes ``delay`` seconds late."""
    rng = np.random.default_rng(seed)
    times = np.arange(n) / rate
    frequencies, phases = rng.uniform(0.5, 4, 12), rng.uniform(0, 2 * np.pi, 12)
    return times, np.sin(2 * np.pi * frequencies * (times[:, None] - delay) + phases).sum(1)


def face(opening: float) -> np.ndarray:
    """A schematic face whose eyes are 100 px apart; inner lips ``opening`` px apart."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (0, 0), (100, 0)
    points[48:60, 0] = np.linspace(20, 80, 12)
    points[48:60, 1] = 100
    points[[60, 61, 62, 63, 64]] = [(25, 100), (40, 100), (50, 100), (60, 100), (75, 100)]
    points[[67, 66, 65]] = [(40, 100 + opening), (50, 100 + opening), (60, 100 + opening)]
    return points


@pytest.mark.parametrize("frames_late", [-3, 0, 4])
def test_a_lag_is_found_across_frame_rates(frames_late: int) -> None:
    a = talking(125, 25.0)
    b = talking(150, 30.0, delay=frames_late / 25)
    result = lag_correlation(*a, *b)
    assert result.best_lag == frames_late
    assert result.best_r > 0.98
    assert (result.r > 0.98) == (frames_late == 0)


def test_unrelated_mouths_do_not_correlate() -> None:
    assert abs(lag_correlation(*talking(500, 25.0), *talking(500, 25.0, seed=1)).r) < 0.3


def test_too_little_overlap_is_not_a_number() -> None:
    assert np.isnan(lag_correlation(*talking(20, 25.0), *talking(125, 25.0)).r)


def test_opening_is_measured_in_eye_distances() -> None:
    assert lip_opening(face(20.0)) == pytest.approx(0.2, abs=1e-6)
    assert opening_track(np.stack([face(10.0)] * 9)) == pytest.approx(0.1, abs=1e-6)


def test_flicker_ignores_the_head_and_sees_the_mouth() -> None:
    still = np.stack([face(10.0)] * 20)
    moving = still + np.cumsum(np.random.default_rng(0).normal(size=(20, 1, 2)), 0)
    assert flicker(moving) == pytest.approx(0, abs=1e-9)
    shaking = still.copy()
    shaking[::2, 48:68, 1] += 1.0
    assert flicker(shaking) == pytest.approx(2.0, rel=0.01)
    with pytest.raises(ValueError, match="at least 3"):
        flicker(still[:2])
