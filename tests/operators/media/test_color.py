"""Matrices between Y'CbCr code values and R'G'B' against published values."""

from __future__ import annotations

import numpy as np
import pytest

from operators.media.color import YCGCO, rgb_to_yuv, yuv_to_rgb


def codes(rgb: tuple[int, int, int], matrix: int, full: bool, depth: int = 8, height: int = 720) -> list[int]:
    return np.rint(rgb_to_yuv(matrix, full, depth, height) @ np.array([*rgb, 1.0])).astype(int).tolist()


@pytest.mark.parametrize(
    ("rgb", "matrix", "full", "depth", "expected"),
    [
        ((255, 255, 255), 1, False, 8, [235, 128, 128]),
        ((0, 0, 0), 1, False, 8, [16, 128, 128]),
        ((255, 0, 0), 1, False, 8, [63, 102, 240]),
        ((0, 255, 0), 1, False, 8, [173, 42, 26]),
        ((0, 0, 255), 1, False, 8, [32, 240, 118]),
        ((255, 0, 0), 6, False, 8, [81, 90, 240]),
        ((0, 255, 0), 5, False, 8, [145, 54, 34]),
        ((255, 0, 0), 5, True, 8, [76, 85, 255]),
        ((255, 255, 255), 9, False, 10, [940, 512, 512]),
        ((255, 0, 0), 9, False, 10, [294, 387, 960]),
        ((0, 255, 0), YCGCO, True, 8, [128, 255, 128]),
    ],
)
def test_published_code_values(
    rgb: tuple[int, int, int], matrix: int, full: bool, depth: int, expected: list[int]
) -> None:
    """Colour bars of BT.709 and BT.601 and BT.2020 (H.273, equations 36-59)."""
    assert np.abs(np.subtract(codes(rgb, matrix, full, depth), expected)).max() <= (
        0 if matrix not in (5, YCGCO) or not full else 1
    )


def test_unspecified_matrix_goes_by_the_number_of_lines() -> None:
    assert codes((255, 0, 0), 2, False, height=720) == codes((255, 0, 0), 1, False)
    assert codes((255, 0, 0), 2, False, height=576) == codes((255, 0, 0), 6, False)


@pytest.mark.parametrize("matrix", [1, 4, 5, 7, 9, YCGCO])
@pytest.mark.parametrize("full", [False, True])
def test_there_and_back(matrix: int, full: bool) -> None:
    rgb = np.random.default_rng(0).uniform(0, 255, (3, 100))
    yuv = rgb_to_yuv(matrix, full, 10, 720)
    back = yuv_to_rgb(matrix, full, 10, 720)
    there = yuv[:, :3].astype(float) @ rgb + yuv[:, 3:]
    assert np.abs(back[:, :3].astype(float) @ there + back[:, 3:] - rgb).max() < 1e-3
