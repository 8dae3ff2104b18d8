"""Factors: what is taken apart comes together again, and the person is taken out."""

from __future__ import annotations

import numpy as np
import pytest

from operators.exemplar.mouths import JAW_AND_MOUTH, generic_opening, generic_width
from operators.faces.geometry import eye_distance, head_model
from operators.retalk.coefficients import SLICES
from operators.talkin.factors import Factors, deviations, fit_factors, frontal_shapes

EYE = float(eye_distance(head_model()[:, :2]))


def talking(frames: int, seed: int = 0, amplitude: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Frontal landmarks of a mouth that opens and widens, and by how much, float64[T, 2]."""
    amounts = np.random.default_rng(seed).normal(0, 1, (frames, 2)) * amplitude
    moves = np.stack([generic_opening() * 4, generic_width() * 2])
    return head_model()[:, :2] + np.tensordot(amounts, moves, 1), amounts


def clip(seed: int, amplitude: float = 1.0) -> tuple[np.ndarray, float, np.ndarray]:
    return talking(80, seed, amplitude)[0], EYE, np.zeros((0, 262), np.float32)


def test_two_motions_are_two_components() -> None:
    factors = fit_factors([clip(0), clip(1)], "landmarks", 4)
    sizes = np.linalg.norm(factors.basis.reshape(4, -1), axis=1)
    assert sizes[1] > 1e-3
    assert sizes[2] < 1e-6 * sizes[0]


def test_an_expression_gives_back_the_face() -> None:
    factors = fit_factors([clip(0), clip(1)], "landmarks", 2)
    frontal, _ = talking(60, 5)
    person = factors.person(frontal, EYE, np.zeros((0, 262)), np.ones(60, bool))
    again = factors.shapes(factors.expression(frontal, person, np.zeros((0, 262))), person)
    # The jaw's ends by the ears count less than they move; lips and chin come back.
    exact = np.isin(JAW_AND_MOUTH, [*range(6, 11), *range(48, 68)])
    np.testing.assert_allclose(again[:, exact], frontal[:, JAW_AND_MOUTH][:, exact], atol=0.25)


def test_a_lively_and_a_calm_speaker_have_the_same_expression() -> None:
    factors = fit_factors([clip(0), clip(1)], "landmarks", 2)
    found = []
    for amplitude in (0.7, 1.4):
        frontal, _ = talking(100, 3, amplitude)
        person = factors.person(frontal + np.array([3.0, 5.0]), EYE, np.zeros((0, 262)), np.ones(100, bool))
        found.append(factors.expression(frontal + np.array([3.0, 5.0]), person, np.zeros((0, 262))))
        assert person.amplitude == pytest.approx(amplitude, rel=0.15)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_coefficients_are_mapped_to_the_landmarks_that_they_move() -> None:
    """Made-up coefficients that are a linear mix of the motion."""
    mix = np.random.default_rng(0).normal(0, 1, (2, 64))
    clips = []
    for seed in (0, 1, 2):
        frontal, amounts = talking(200, seed)
        coefficients = np.zeros((200, 262))
        coefficients[:, SLICES["exp"]] = amounts @ mix + 0.5
        clips.append((frontal, EYE, coefficients))
    factors = fit_factors(clips, "coefficients")
    assert factors.num_parameters == 64
    frontal, _, coefficients = clips[1]
    person = factors.person(frontal, EYE, coefficients, np.ones(200, bool))
    again = factors.shapes(factors.expression(frontal, person, coefficients), person)
    wanted = deviations(frontal, person.mean, EYE)
    np.testing.assert_allclose((again - person.mean) / EYE, wanted, atol=0.02 * np.abs(wanted).max())


def test_too_little_and_missing_data_are_told() -> None:
    with pytest.raises(ValueError, match="too few for 12 parameters"):
        fit_factors([(talking(5)[0], EYE, np.zeros((0, 262)))], "landmarks")
    with pytest.raises(ValueError, match="no 3DMM coefficients"):
        fit_factors([clip(0)], "coefficients")


def test_pose_place_and_size_do_not_count() -> None:
    """The same mouths seen at another place, size and tilt."""
    frontal, _ = talking(30, 1, 0.5)
    depth = np.broadcast_to(head_model()[:, 2:], (30, 68, 1))
    points = np.concatenate([frontal, depth], -1)
    seen = []
    for tilt, size, shift in ((0.0, 3.0, (300, 200)), (0.3, 0.8, (90, 400))):
        turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        far = 600 / (600 + points[..., 2:])
        shown = (points[..., :2] * far) @ turn.T * size + np.array(shift)
        seen.append(frontal_shapes(shown, np.ones(30, bool)))
    moved = [deviations(one, one[:, JAW_AND_MOUTH].mean(0), eye) for one, eye in seen]
    np.testing.assert_allclose(moved[0], moved[1], atol=0.004)
    assert np.abs(moved[0]).max() > 0.03


def test_limits_of_the_amplitude_hold_for_a_mouth_that_stands() -> None:
    factors = fit_factors([clip(0), clip(1)], "landmarks", 2)
    still = np.repeat(head_model()[None, :, :2], 20, 0)
    person = factors.person(still, EYE, np.zeros((0, 262)), np.ones(20, bool))
    assert person.amplitude == 0.5
    assert isinstance(factors, Factors)
