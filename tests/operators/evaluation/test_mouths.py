"""LMD and LipLeak on mouths that are moved by known amounts."""

import math

import numpy as np
import pytest

from operators.evaluation.lip_leak import lip_leak, silent_at
from operators.evaluation.mouth_distance import mouth_distance
from tests.operators.evaluation.test_mouth_tracks import face


def test_lmd_is_the_distance_of_the_lips_without_the_head() -> None:
    truth = np.stack([face(10.0)] * 6)
    assert mouth_distance(truth, truth) == 0
    assert mouth_distance(truth + np.array([7.0, -3.0]), truth) == pytest.approx(0, abs=1e-9)
    wider = truth.copy()
    wider[:, 48:58, 0] += 4  # half of the points by 4 px, so all by 2 px from the moved centre
    assert mouth_distance(wider, truth, unit="px") == pytest.approx(2)
    assert mouth_distance(wider, truth) == pytest.approx(2)  # eyes 100 px apart
    assert mouth_distance(2 * wider, 2 * truth) == pytest.approx(2)
    with pytest.raises(ValueError, match="do not pair up"):
        mouth_distance(truth[:3], truth)


RATE = 25
TIMES = np.arange(4 * RATE) / RATE
#: Speech for two seconds, then silence.
SILENT = TIMES >= 2
TALKING = 0.1 + 0.1 * np.sin(2 * np.pi * 3 * TIMES)


def test_a_mouth_that_rests_in_silence_does_not_leak() -> None:
    assert lip_leak(TIMES, np.where(TIMES < 1.96, TALKING, 0.1), SILENT) == pytest.approx(0, abs=0.03)


def test_a_mouth_that_goes_on_leaks() -> None:
    assert lip_leak(TIMES, TALKING, SILENT) > 0.8
    half = np.where(TIMES < 3, TALKING, TALKING[np.searchsorted(TIMES, 3)])
    assert lip_leak(TIMES, half, SILENT) == pytest.approx(0.5 * lip_leak(TIMES, TALKING, SILENT), abs=0.05)


def test_without_silence_or_a_face_there_is_no_value() -> None:
    assert math.isnan(lip_leak(TIMES, TALKING, np.zeros(len(TIMES), bool)))
    assert math.isnan(lip_leak(TIMES, np.full(len(TIMES), np.nan), SILENT))
    assert math.isnan(lip_leak(TIMES[:2], TALKING[:2], SILENT[:2]))
    with pytest.raises(ValueError, match="do not pair up"):
        lip_leak(TIMES, TALKING[:3], SILENT)


def test_silence_of_speech_leaves_a_margin() -> None:
    rng = np.random.default_rng(0)
    samples = (0.3 * rng.normal(size=4 * 16000)).astype(np.float32)
    samples[2 * 16000 :] *= 1e-3
    silent = silent_at(samples, TIMES)
    assert not silent[TIMES < 2.1].any()
    assert silent[(TIMES > 2.35) & (TIMES < 4)].all()
    assert silent_at(samples[:16000], TIMES)[TIMES > 1.2].all()  # behind the end of the sound
