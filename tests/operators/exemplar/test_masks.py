"""Masks: whole on the lips, empty at the border, the same at any size."""

import numpy as np
import pytest

from operators.exemplar.masks import MaskOptions, cells, fill, kept_in_place, mouth_mask, over_own_lips
from operators.exemplar.warp import face_axes, face_unit
from operators.faces.geometry import OUTER_LIPS
from tests.operators.exemplar.footage import astronaut, carphone


def _square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], float)


@pytest.mark.parametrize("sigma", [0.0, 2.0, 7.0, 25.0])
def test_fill_is_centred_and_as_soft_as_asked(sigma):
    mask = fill(_square(200.0, 400.0), (601, 601), sigma)
    assert mask.shape == (601, 601)
    assert mask[300, 300] == pytest.approx(1.0, abs=0.01)
    assert mask[0, 0] == 0
    # Drawing wide blurs small must not shift them: half way within a fifth of their width of the edge, on all
    # four sides.
    for profile in (mask[300, 100:300], mask[100:300, 300], mask[300, 500:300:-1], mask[500:300:-1, 300]):
        assert np.interp(0.5, profile, np.arange(200)) == pytest.approx(100, abs=1 + 0.2 * sigma)
        if sigma:
            width = np.interp(0.841, profile, np.arange(200)) - np.interp(0.159, profile, np.arange(200))
            assert width == pytest.approx(2 * sigma, rel=0.15)


def test_fill_keeps_sub_pixel_edges():
    areas = [fill(_square(10.0, 20.0 + shift), (40, 40), 0.0).sum() for shift in (0.0, 0.25, 0.5, 0.75)]
    assert np.all(np.diff(areas) > 1)


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_mouth_mask_at_any_size(scale):
    landmarks = (carphone()[1][4] * scale).astype(np.float32)
    size = (int(528 * scale), int(432 * scale))
    mask = mouth_mask(landmarks, (0, 0, *size), face_unit(landmarks), MaskOptions())
    x1, y1, x2, y2 = mask.box
    assert mask.weight.shape == mask.grain.shape == mask.reach.shape == (y2 - y1, x2 - x1)
    for layer in (mask.weight, mask.grain, mask.reach):
        assert layer.min() >= 0
        assert layer.max() <= 1 + 1e-6
        assert max(layer[0].max(), layer[-1].max(), layer[:, 0].max(), layer[:, -1].max()) < 0.01
    x, y = np.round(landmarks[OUTER_LIPS] - [x1, y1]).astype(int).T
    assert mask.weight[y, x].min() > 0.85
    assert mask.reach[y, x].min() > 0.98
    assert (mask.grain <= mask.weight + 1e-6).all()
    # A mask covers the same share of its box whatever the picture's size.
    assert mask.weight.mean() == pytest.approx(0.27, abs=0.08)


def test_skin_is_around_the_lips_and_not_on_them():
    landmarks = astronaut()[1]
    mask = mouth_mask(landmarks, (0, 0, 512, 512), face_unit(landmarks), MaskOptions())
    x1, y1, x2, y2 = mask.box
    place = (landmarks[[51, 57, 62, 66]] - [x1, y1]) / [x2 - x1, y2 - y1] * mask.skin.shape[::-1]
    assert all(mask.skin[int(y), int(x)] < 0.3 for x, y in place)
    assert 0.05 < (mask.skin > 0.9).mean() < 0.5


def test_no_mask_where_the_crop_shows_no_mouth():
    landmarks = astronaut()[1]
    assert mouth_mask(landmarks, (0, 300, 512, 512), face_unit(landmarks), MaskOptions()) is None


def test_options_move_the_mask():
    landmarks = carphone()[1][4]
    crop, unit = (0, 0, 528, 432), face_unit(carphone()[1][4])
    usual = mouth_mask(landmarks, crop, unit, MaskOptions()).weight.sum()
    for wider in (MaskOptions(side=0.3), MaskOptions(up=0.8), MaskOptions(down=0.9)):
        assert mouth_mask(landmarks, crop, unit, wider).weight.sum() > 1.03 * usual


def test_cells():
    picture = np.arange(40 * 48, dtype=np.float32).reshape(40, 48)
    assert cells(picture).shape == (20, 24)
    assert cells(picture)[0, 0] == picture[:2, :2].mean()


def test_what_is_kept_fades_around_a_line() -> None:
    keep = kept_in_place([(30, 40, 90, 60)], (10, 10, 110, 110), 50.0)
    assert keep.shape == (100, 100)
    assert (keep[30:50, 20:80] == 1).all()
    assert keep[5, 5] == 0
    assert 0 < keep[27, 50] < 1
    assert kept_in_place([(0, 0, 5, 5)], (10, 10, 20, 20), 50.0).max() < 1


def test_own_lips_that_stay_beside_the_wanted_ones_are_covered() -> None:
    landmarks = carphone()[1][5]
    unit, (_, down) = face_unit(landmarks), face_axes(landmarks)
    crop, still = (0, 0, 528, 432), np.zeros((432, 528), np.float32)
    mask = mouth_mask(landmarks, crop, unit, MaskOptions())
    assert mask is not None
    lips = landmarks[OUTER_LIPS]
    assert over_own_lips(mask, lips, still, still, unit) is mask, "they lie where the wanted ones do"
    opened = lips.copy()
    opened[7:] += 0.3 * unit * down
    wider = over_own_lips(mask, opened, still, still, unit)
    x1, y1, x2, y2 = mask.box
    own = fill(opened, (528, 432), 0)[y1:y2, x1:x2] * (mask.reach > 0.99) > 0.5
    assert mask.weight[own].min() < 0.5
    assert wider.weight[own].min() > 0.85
    assert (wider.weight >= mask.weight).all()
    assert (wider.weight <= mask.reach + 1e-6).all()
    squeezed = np.zeros((432, 528, 2), np.float32) + (0.3 * unit * down).astype(np.float32)
    moved = over_own_lips(mask, lips + 0.3 * unit * down, squeezed[..., 0], squeezed[..., 1], unit)
    assert moved is mask, "the displacement takes them to the wanted place"
