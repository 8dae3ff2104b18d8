"""dlib on a real portrait: the face is found, its points are where the eyes and the mouth are, and
confirmation tells face from wall.
"""

import numpy as np
import pytest

from operators.faces.canonical import transform_of_box, warp
from operators.faces.dlib_backend import DlibBackend, bundled_model
from operators.faces.geometry import LEFT_EYE, MOUTH, RIGHT_EYE, head_pose
from operators.faces.seed import look
from tests.operators.faces.footage import astronaut, luma


def test_missing_model_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nonsense\.dat.*pip install face_recognition_models"):
        bundled_model("nonsense.dat")


def test_portrait(backend: DlibBackend) -> None:
    picture = luma(astronaut())
    boxes, scores = backend.detect(picture)
    assert len(boxes) == 1
    assert scores[0] > 1
    seen = look(backend, picture, transform_of_box(boxes[0]), float(scores[0]), guesses=2)
    # Measured by hand in the portrait: the pupils and the middle of the mouth.
    np.testing.assert_allclose(seen.landmarks[LEFT_EYE].mean(0), (203, 100.5), atol=3)
    np.testing.assert_allclose(seen.landmarks[RIGHT_EYE].mean(0), (248.5, 103), atol=3)
    np.testing.assert_allclose(seen.landmarks[MOUTH].mean(0), (223.5, 146), atol=3)
    assert seen.spread.shape == (68,)
    assert 0 < seen.spread.mean() < 0.03
    assert abs(head_pose(seen.landmarks, (512, 512)).yaw) < 25


def test_confirm_tells_a_face_from_a_wall(backend: DlibBackend) -> None:
    picture = luma(astronaut())
    boxes, _ = backend.detect(picture)
    assert backend.confirm(warp(picture, transform_of_box(boxes[0]))) > 0.5
    wall = np.random.default_rng(0).normal(128, 20, (360, 360)).clip(0, 255).astype(np.uint8)
    assert backend.confirm(wall) == -1
    assert (
        backend.confirm(warp(picture, transform_of_box(boxes[0] + np.array([0, 260, 0, 260], np.float32))))
        < 0
    )


def test_tiny_and_blank_pictures_have_no_face(backend: DlibBackend) -> None:
    for shape in [(10, 10), (23, 200), (100, 100)]:
        boxes, scores = backend.detect(np.zeros(shape, np.uint8))
        assert boxes.shape == (0, 4)
        assert scores.shape == (0,)
