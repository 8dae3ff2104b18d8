"""The expected strength of a picture's mark, against what the detector finds."""

from collections.abc import Sequence

import numpy as np
import pytest

from operators.watermark.picture import CELLS, pattern, picture_change, turn_at
from operators.watermark.picture_detector import Look, read_picture
from operators.watermark.picture_tally import PictureTally
from tests.operators.watermark.test_picture import ID, KEY, OTHER, RATE, SIZE, scene

SECONDS = 5
BOX = (101, 83, 311, 262)


@pytest.fixture(scope="module")
def clean() -> list[np.ndarray]:
    return scene(SECONDS, seed=4)


def weight() -> np.ndarray:
    """float32[h, w] of `BOX`: an ellipse with a soft edge."""
    y, x = np.mgrid[-1 : 1 : (BOX[3] - BOX[1]) * 1j, -1 : 1 : (BOX[2] - BOX[0]) * 1j]
    return np.clip(3 * (1 - x * x - y * y), 0, 1).astype(np.float32)


def written(clean: Sequence[np.ndarray], strength: float, whole: bool) -> tuple[float, float]:
    """The expected deviate of all cells, and that of the known half that the detector finds in the same pictures."""
    tally, look = PictureTally(KEY, ID, SIZE), Look()
    box, alpha = ((0, 0, *SIZE), None) if whole else (BOX, weight())
    shape, rows, columns = pattern(KEY, ID, SIZE, box), slice(box[1], box[3]), slice(box[0], box[2])
    where = np.zeros(SIZE[::-1], np.float32)
    where[rows, columns] = 1 if alpha is None else alpha
    for number, source in enumerate(clean):
        seconds, luma = number / RATE, source.copy()
        part = luma[rows, columns]
        part += picture_change(shape, part, alpha, turn_at(KEY, seconds), min(SIZE) / CELLS, strength).astype(
            np.uint8
        )
        x1, y1, x2, y2 = around = tally.around(box)
        tally.add(luma[y1:y2, x1:x2], around, box, alpha, seconds)
        look.add(luma, seconds, where)
    return tally.power**0.5, read_picture(KEY, look.looked, cropped=False).z


@pytest.mark.parametrize("whole", [True, False], ids=["frame", "region"])
def test_the_detector_finds_what_was_expected(clean: list[np.ndarray], whole: bool) -> None:
    expected, found = written(clean, 1.0, whole)
    assert found > 6
    assert expected == pytest.approx(found * 2**0.5, rel=0.2)  # half of the cells are known


def test_a_weaker_mark_is_expected_to_be_weaker(clean: list[np.ndarray]) -> None:
    strong, middle = (written(clean, strength, False)[0] for strength in (1.0, 0.5))
    assert 0 < middle < 0.8 * strong


def test_pictures_without_the_mark_have_next_to_none(clean: list[np.ndarray]) -> None:
    for key in (KEY, OTHER):
        tally = PictureTally(key, ID, SIZE)
        for number, luma in enumerate(clean):
            tally.add(luma, (0, 0, *SIZE), (0, 0, *SIZE), None, number / RATE)
        assert tally.power**0.5 < 4
    assert PictureTally(KEY, ID, SIZE).power == 0
