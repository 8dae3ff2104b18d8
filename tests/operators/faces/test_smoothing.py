"""Smoothing of landmarks whose true places are known: less jitter, no lag, no lost closures, nothing across
gaps.
"""

import numpy as np
import pytest

from operators.faces.canonical import TEMPLATE
from operators.faces.geometry import MOUTH, NOSE, eye_distance, lip_opening
from operators.faces.smoothing import fill_motion, smooth
from operators.numeric.affine import apply, compose, invert
from tests.operators.faces.footage import swaying

COUNT = 90
#: Pixels, at an eye distance of 68: what the predictor shows.
NOISE = 0.22


def face(speaking: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and noisy landmarks float64[COUNT, 68, 2] of a head that sways, and its motions; the lips close
    every five frames.
    """
    _, transforms = swaying(np.zeros((4, 4), np.uint8), COUNT, amplitude=25)
    true = []
    for t, transform in enumerate(transforms):
        points = TEMPLATE.copy()
        if speaking:
            points[[56, 57, 58, 65, 66, 67]] += (0, 9 * np.sin(np.pi * t / 5) ** 2)
        true.append(apply(transform, points * 0.667))
    noisy = np.array(true) + np.random.default_rng(seed).normal(0, NOISE, (COUNT, 68, 2))
    motion = np.full((COUNT, 2, 3), np.nan)
    for t in range(1, COUNT):
        motion[t] = compose(transforms[t], invert(transforms[t - 1]))
    return np.array(true), noisy, motion


def wobble(landmarks: np.ndarray, points: np.ndarray) -> float:
    """Root mean square of the second difference in time."""
    return float(np.sqrt((np.diff(landmarks[:, points], 2, axis=0) ** 2).mean()))


def off(landmarks: np.ndarray, true: np.ndarray, points: np.ndarray) -> float:
    return float(np.sqrt(((landmarks - true)[:, points] ** 2).mean()))


def test_jitter_goes_and_motion_stays() -> None:
    true, noisy, motion = face(speaking=False)
    result = smooth(noisy, motion)
    for points in (NOSE, MOUTH):
        assert wobble(result - true, points) < 0.35 * wobble(noisy - true, points)
        assert off(result, true, points) < 0.6 * off(noisy, true, points)


def test_motion_found_from_landmarks_serves_where_it_was_not_measured() -> None:
    true, noisy, motion = face(speaking=False)
    motion[:] = np.nan
    result = smooth(noisy, motion)
    assert wobble(result - true, NOSE) < 0.6 * wobble(noisy - true, NOSE)


def test_fast_closures_are_kept() -> None:
    true, noisy, motion = face(speaking=True)
    opening = lip_opening(true)
    result = lip_opening(smooth(noisy, motion))
    kept = np.polyfit(opening, result, 1)[0]
    assert kept > 0.95
    lag = [np.corrcoef(opening[5:-5], np.roll(result, shift)[5:-5])[0, 1] for shift in (-1, 0, 1)]
    assert int(np.argmax(lag)) == 1
    shut = opening <= np.quantile(opening, 0.2)
    assert abs((result - opening)[shut].mean()) < 0.01
    # Plain smoothing would do this, so the test can fail.
    kernel = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    plain = np.apply_along_axis(lambda v: np.convolve(v, kernel / kernel.sum(), "same"), 0, noisy)
    assert np.polyfit(opening[5:-5], lip_opening(plain)[5:-5], 1)[0] < 0.7


def test_nothing_reaches_across_a_gap_or_a_jump() -> None:
    _, noisy, motion = face(speaking=False)
    gap = noisy.copy()
    gap[40:43] = np.nan
    result = smooth(gap, motion)
    assert np.isnan(result[40:43]).all()
    np.testing.assert_allclose(result[:40], smooth(noisy[:40], motion[:40]))
    np.testing.assert_allclose(result[43:], smooth(noisy[43:], motion[43:]))
    jump = noisy.copy()
    jump[50:] += (3 * eye_distance(noisy[0]), 0)
    unknown = motion.copy()
    unknown[50] = np.nan
    result = smooth(jump, unknown)
    np.testing.assert_allclose(result[:50], smooth(noisy[:50], motion[:50]))
    assert not fill_motion(jump, unknown)[1][50]


def test_a_frame_depends_on_its_neighbourhood_only() -> None:
    _, noisy, motion = face(speaking=True)
    whole = smooth(noisy, motion)
    np.testing.assert_array_equal(smooth(noisy[20:60], motion[20:60])[5:-5], whole[25:55])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_very_short_input(count: int) -> None:
    _, noisy, motion = face(speaking=False)
    assert smooth(noisy[:count], motion[:count]).shape == (count, 68, 2)


def test_eyes_blink() -> None:
    _, noisy, motion = face(speaking=False)
    noisy = noisy - np.random.default_rng(0).normal(0, NOISE, noisy.shape) * 0.9  # nearly free of noise
    closed = noisy.copy()
    closed[30:32, [37, 38, 43, 44]] += (0, 4)
    difference = smooth(closed, motion) - smooth(noisy, motion)
    assert difference[30:32, [37, 38], 1].mean() > 3
