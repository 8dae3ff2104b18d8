"""CPBD: reference values, and blur lowers it."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from operators.evaluation.cpbd import Cpbd, cpbd, edge_widths
from operators.media.reader import read_frames
from operators.segment import Segment
from tests.conftest import package_file


def camera() -> np.ndarray:
    return np.array(Image.open(package_file("skimage", "data/camera.png")))[:256, :256].astype(np.float64)


@pytest.mark.parametrize(("sigma", "expected"), [(0, 0.5836), (1, 0.1155), (2, 0.0036), (3, 0.0)])
def test_reference_values(sigma: float, expected: float) -> None:
    """Those of the published implementation for scikit-image's cameraman, upper left 256x256, blurred; one edge of
    some 2500 is 4e-4.
    """
    blurred = ndimage.gaussian_filter(camera(), sigma, mode="nearest") if sigma else camera()
    assert cpbd(blurred) == pytest.approx(expected, abs=6e-4)


def test_an_edge_is_as_wide_as_the_way_between_its_extrema() -> None:
    """Levels rise from column 10 to column 16 and are flat elsewhere."""
    row = np.concatenate([np.zeros(11), np.cumsum([5, 20, 40, 40, 20, 5]), np.full(14, 130)])
    for picture, column in ((row, 13), (row[::-1], len(row) - 14)):
        widths = edge_widths(np.tile(picture, (9, 1)))
        assert (widths[1:, column] == 6).all()
        assert np.count_nonzero(widths[1:]) == len(widths) - 1


def test_blur_lowers_it_on_real_frames(carphone: Path) -> None:
    luma = next(iter(read_frames(str(carphone), 10, 11))).luma().astype(np.float64)
    values = [cpbd(ndimage.gaussian_filter(luma, sigma) if sigma else luma) for sigma in (0, 0.6, 1, 2)]
    assert 1 >= values[0] > values[1] > values[2] >= values[3] >= 0


def test_a_flat_picture_has_no_value_and_a_small_one_is_refused() -> None:
    assert math.isnan(cpbd(np.full((128, 128), 7, np.uint8)))
    with pytest.raises(ValueError, match="at least 64 pixels"):
        cpbd(np.zeros((63, 200), np.uint8))
    with pytest.raises(ValueError, match="needs luma"):
        cpbd(np.zeros((100, 100, 3), np.uint8))


def test_the_metric_measures_whole_frames(carphone: Path) -> None:
    frame = next(iter(read_frames(str(carphone), 10, 11)))
    assert Cpbd().sample(Segment({}), 0, frame) == cpbd(frame.luma())
