"""Finding faces: at any size, tilted, in a region, and how far a box is from an anchor."""

import cv2
import numpy as np
import pytest

from operators.faces.dlib_backend import DlibBackend
from operators.faces.search import CERTAIN, FACE, find_anywhere, find_at_scale, overlap, separation
from tests.operators.faces.footage import CARPHONE, astronaut, carphone, luma


@pytest.mark.parametrize("zoom", [0.3, 1.0, 4.0])
def test_faces_of_any_size(backend: DlibBackend, zoom: float) -> None:
    picture = cv2.resize(luma(astronaut()), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    boxes, scores = find_anywhere(backend, picture)
    assert len(boxes) == 1
    assert overlap(boxes[0] / zoom, np.array([179, 83, 267, 171], np.float32)) > 0.6
    assert scores[0] > 0.5


def test_the_small_original_of_carphone(backend: DlibBackend) -> None:
    small = cv2.resize(luma(carphone()[0]), (176, 144), interpolation=cv2.INTER_AREA)
    boxes, _ = find_anywhere(backend, small)
    assert len(boxes) == 1
    assert 35 < boxes[0, 2] - boxes[0, 0] < 70
    assert CARPHONE.exists()


@pytest.mark.parametrize("turn", [-35, 35])
def test_tilted_heads(backend: DlibBackend, turn: float) -> None:
    picture = luma(astronaut())
    centre = np.array([223.0, 127.0])
    tilted = cv2.warpAffine(
        picture,
        cv2.getRotationMatrix2D(tuple(centre), -turn * 1.3, 1.0),
        (512, 512),
        borderMode=cv2.BORDER_REFLECT,
    )
    assert not len(find_at_scale(backend, tilted, 88)[0])
    boxes, _ = find_at_scale(backend, tilted, 88, np.array([123, 27, 323, 227]), turn)
    assert len(boxes) == 1
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, centre, atol=18)


def test_a_region_limits_the_search(backend: DlibBackend) -> None:
    picture = luma(astronaut())
    assert len(find_at_scale(backend, picture, 88, np.array([100, 0, 350, 250]))[0]) == 1
    assert not len(find_at_scale(backend, picture, 88, np.array([300, 200, 512, 512]))[0])
    assert not len(find_at_scale(backend, picture, 88, np.array([600, 600, 700, 700]))[0])


def test_separation_counts_place_and_size() -> None:
    anchor = np.array([100, 100, 200, 200], np.float32)
    boxes = np.array([anchor, anchor + 100, [50, 50, 250, 250]], np.float32)
    np.testing.assert_allclose(separation(boxes, anchor), [0, np.sqrt(2), np.log(2)], rtol=1e-5)
    assert overlap(anchor, anchor) == 1
    assert overlap(anchor, anchor + 100) == 0


def test_a_face_inside_what_is_hardly_one_takes_its_place(backend: DlibBackend) -> None:
    """As a small picture within the picture, which looks a little like a large face."""
    sharp = luma(astronaut())
    large = cv2.GaussianBlur(
        cv2.resize(sharp[:300, 60:400], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), (0, 0), 11
    )
    nested = large.copy()
    nested[454:570, 444:560] = cv2.resize(sharp[60:190, 160:290], (116, 116), interpolation=cv2.INTER_AREA)
    whole, (doubt,) = find_at_scale(backend, nested, FACE * 1020 / 480)
    assert 0 < doubt < CERTAIN
    ((x1, y1, x2, y2),), (sure,) = find_anywhere(backend, nested)
    assert 50 < x2 - x1 < 100 < whole[0, 2] - whole[0, 0]
    assert 444 < (x1 + x2) / 2 < 560
    assert 454 < (y1 + y2) / 2 < 570
    assert sure > CERTAIN
