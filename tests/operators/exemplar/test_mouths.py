"""The person's shape model: measures, the generic directions, the fit, which frames are trusted."""

import numpy as np

from operators.exemplar.mouths import (
    fit_shapes,
    generic_opening,
    generic_width,
    measure,
    opening_of,
    reliable_frames,
    set_opening_and_width,
    width_of,
)
from operators.faces.geometry import head_model, lip_opening, mouth_width
from tests.operators.exemplar.talker import EYE, speech_like, talker


def test_generic_directions_measure_one_millimetre_each() -> None:
    assert np.isclose(opening_of(generic_opening(), 1.0), 1)
    assert np.isclose(width_of(generic_width(), 1.0), 1)
    assert abs(opening_of(generic_width(), 1.0)) < 1e-9
    assert generic_opening()[8, 1] > 0.5, "the chin goes down with the jaw"
    assert not generic_opening()[[0, 16]].any(), "the ears do not"
    assert not generic_opening()[17:48].any()


def test_measures_agree_with_the_fields_own() -> None:
    face = talker(np.array([0.02, 0.1, 0.25]), np.array([0.7, 0.8, 0.9]))
    mouths = measure(face.frontal, np.ones(3, bool))
    assert np.allclose(mouths.opening, lip_opening(face.frontal), atol=1e-6)
    assert np.allclose(mouths.width, mouth_width(face.frontal), atol=1e-6)
    assert np.isclose(mouths.eye, EYE)


def test_set_opening_and_width_is_exact() -> None:
    face = talker(0.1 + 0.05 * speech_like(50, 1), 0.8 + 0.03 * speech_like(50, 2))
    opening, width = np.linspace(0, 0.3, 50), np.linspace(0.6, 1, 50)
    moved = set_opening_and_width(face.frontal, opening, width, EYE)
    assert np.allclose(opening_of(moved, EYE), opening)
    assert np.allclose(width_of(moved, EYE), width)


def test_a_persons_own_way_of_opening_is_learned() -> None:
    opening = 0.1 + 0.05 * speech_like(300, 3)
    face = talker(opening)
    # This person raises the upper lip and keeps the lower one: the reverse of the generic model.
    frontal = np.broadcast_to(head_model()[:, :2], (300, 68, 2)).copy()
    frontal[:, [50, 51, 52, 61, 62, 63], 1] -= 0.9 * (opening * EYE)[:, None]
    frontal[:, [56, 57, 58, 65, 66, 67], 1] += 0.1 * (opening * EYE)[:, None]
    model = fit_shapes(frontal, measure(frontal, np.ones(300, bool)), np.zeros([300, 3]), np.ones(300, bool))
    assert -0.95 < model.slopes[0, 62, 1] / EYE < -0.8
    assert abs(model.slopes[0, 8, 1]) / EYE < 0.1, "and the chin stays"
    assert face.frontal[:, 8, 1].std() > 1, "unlike the generic head's"


def test_one_picture_gets_the_generic_model() -> None:
    face = talker(np.array([0.03]))
    model = fit_shapes(
        face.frontal, measure(face.frontal, np.ones(1, bool)), np.zeros([1, 3]), np.ones(1, bool)
    )
    assert np.allclose(model.slopes[0][:, 1], generic_opening()[:, 1] * EYE, atol=1e-6)
    assert np.allclose(model.mean, face.frontal[0], atol=1e-6)
    assert np.allclose(
        model(np.array([0.13]), np.array([model.centre[1]]), np.zeros([1, 3]))[0, 66, 1] - model.mean[66, 1],
        0.8 * EYE * 0.1,
        atol=0.4,
    )


def test_lost_mouths_are_not_trusted() -> None:
    opening = 0.1 + 0.05 * speech_like(200, 4)
    opening[100] = 0.12
    face = talker(opening)
    frontal = face.frontal + np.random.default_rng(1).normal(0, 0.4, face.frontal.shape)
    frontal[50:55, 48:60] += [0.0, 12.0]  # outer lips on the chin
    frontal[100, 60:68, 1] = frontal[100, [60, 67, 66, 65, 64, 63, 62, 61], 1]  # crossed
    valid = np.ones(200, bool)
    valid[150] = False
    trusted = reliable_frames(frontal, measure(frontal, valid), np.zeros([200, 3]), valid)
    assert not trusted[[50, 51, 52, 53, 54, 100, 150]].any()
    assert trusted.sum() >= 190
