"""Parts of a frame's picture are those of the whole, and crops of it too, wherever they lie."""

import numpy as np
import pytest

from operators.faces.canonical import warp
from operators.faces.picture import FramePicture
from operators.media.reader import read_frames
from operators.numeric.affine import similarity
from tests.operators.faces.footage import carphone, encode


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> FramePicture:
    url = encode(tmp_path_factory.mktemp("picture") / "talk.mp4", list(carphone()[:2]))
    return FramePicture(next(iter(read_frames(url, 0, 1))))


def test_a_part_is_that_of_the_whole(picture: FramePicture) -> None:
    whole = np.asarray(picture)
    assert whole.shape == picture.shape
    assert whole.ndim == picture.ndim
    assert whole.dtype == np.uint8
    assert picture.luma.shape == whole.shape[:2]
    np.testing.assert_array_equal(picture[11:60, 7:100], whole[11:60, 7:100])
    np.testing.assert_array_equal(picture[0 : picture.shape[0], 0 : picture.shape[1]], whole)


@pytest.mark.parametrize(
    ("middle", "zoom", "degrees"),
    [
        ((80, 70), 1.3, 8),
        ((80, 70), 3.0, -30),
        ((4, 425), 1.5, 20),  # cut by two edges
        ((80, 70), 0.25, 5),  # averaged beforehand
        ((900, -500), 1.0, 0),  # outside
    ],
)
def test_a_crop_of_a_frame_is_that_of_its_picture(
    picture: FramePicture, middle: tuple[int, int], zoom: float, degrees: float
) -> None:
    turn = np.radians(degrees)
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    turned = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    transform = similarity(np.array(middle) + turned * 50 / zoom, 50 + corners * 50)
    expected = warp(np.asarray(picture), transform, 100).astype(int)
    found = warp(picture, transform, 100)
    assert found.shape == (100, 100, 3)
    assert np.abs(found - expected).max() <= 2  # places are rounded to parts of a pixel
