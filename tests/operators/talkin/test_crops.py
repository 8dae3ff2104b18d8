"""The renderer's crop: faces land at one place, drawings show landmarks, and what is painted comes back to where it was."""

from __future__ import annotations

import numpy as np
import pytest

from operators.faces.geometry import head_model
from operators.numeric.affine import apply
from operators.talkin.blend_stage import face_region
from operators.talkin.crops import crop, crop_transform, hole, in_crop, sketch, template


def face(size: float, tilt: float, place: tuple[float, float]) -> np.ndarray:
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return head_model()[:, :2] @ turn.T * size + np.array(place)


@pytest.mark.parametrize(("size", "tilt"), [(1.0, 0.0), (3.0, 0.4), (0.4, -0.3)])
def test_faces_of_any_size_and_tilt_land_at_one_place(size: float, tilt: float) -> None:
    landmarks = face(size, tilt, (200, 150))
    np.testing.assert_allclose(in_crop(landmarks, crop_transform(landmarks, 128)), template(128), atol=1e-6)


def test_a_mark_in_the_picture_is_where_its_point_is_in_the_crop() -> None:
    for size in (0.35, 1.5):  # reduced by area, and enlarged
        landmarks = face(4 * size, 0.2, (500, 300))
        picture = np.zeros((900, 1000, 3), np.uint8)
        x, y = np.round(landmarks[57]).astype(int)
        picture[y - 3 : y + 4, x - 3 : x + 4] = 255
        transform = crop_transform(landmarks, 128)
        level = crop(picture, transform, 128)[..., 0].astype(float)
        found = np.array([(level * grid).sum() for grid in np.meshgrid(np.arange(128), np.arange(128))])
        np.testing.assert_allclose(found / level.sum(), apply(transform, landmarks[57]), atol=0.7)


def test_the_hole_holds_the_mouth_and_not_the_nose() -> None:
    mask, points = hole(128), np.round(template(128)).astype(int)
    assert mask.shape == (128, 128)
    for index in (*range(48, 68), 8, 7, 9):
        assert mask[points[index, 1], points[index, 0]] > 0.95
    for index in (30, 33):
        assert mask[points[index, 1], points[index, 0]] < 0.05
    assert mask[:, [0, -1]].max() == 0
    assert mask[[0, -1]].max() == 0


def test_an_open_mouth_has_an_inside() -> None:
    shut = template(96)
    opened = shut.copy()
    opened[[65, 66, 67], 1] += 10
    assert sketch(opened, 96)[1].sum() > sketch(shut, 96)[1].sum() + 255 * 50
    lips = np.round(shut[51]).astype(int)
    assert sketch(shut, 96)[0, lips[1], lips[0]] > 100


def test_the_region_reaches_a_little_beyond_both_jaws() -> None:
    own = face(2.0, 0.0, (160, 100))
    wanted = own.copy()
    wanted[4:13, 1] += 12
    region = face_region(own, wanted, (320, 400), 240)
    assert region.shape == (400, 320)
    chin = np.round(wanted[8]).astype(int)
    assert region[chin[1], chin[0]] > 0.5
    assert region[chin[1] + 25, chin[0]] < 0.05
    nose = np.round(own[30]).astype(int)
    assert region[nose[1] - 10, nose[0]] < 0.05
