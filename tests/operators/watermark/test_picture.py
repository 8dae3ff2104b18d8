"""The mark of pictures, written and read."""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from scipy.stats import kstest, norm

from operators.watermark.code import decode
from operators.watermark.keys import MarkKey
from operators.watermark.picture import BLOCK, BLOCKS, CELLS, pattern, picture_change, picture_layout, turn_at
from operators.watermark.picture_detector import Look, cell_values, first_deviate, read_picture

KEY, OTHER = MarkKey(b"k" * 32), MarkKey(b"o" * 32)
ID, RATE = "0123456789abcdef", 8
SIZE = (400, 300)


def scene(seconds: float, seed: int) -> list[np.ndarray]:
    """uint8[h, w] pictures: smooth texture that drifts, under noise that changes."""
    noise = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(noise.normal(size=(SIZE[1] + 40, SIZE[0] + 40)), (0, 0), 3) * 200 + 120
    found = []
    for number in range(int(seconds * RATE)):
        x, y = int(20 + 8 * np.sin(number / 9)), int(20 + 6 * np.cos(number / 7))
        part = ground[y : y + SIZE[1], x : x + SIZE[0]] + noise.normal(size=SIZE[::-1]) * 2
        found.append(np.clip(part, 16, 235).astype(np.uint8))
    return found


def marked(pictures: Sequence[np.ndarray], weight: np.ndarray | None = None) -> list[np.ndarray]:
    shape = pattern(KEY, ID, SIZE, (0, 0, *SIZE))
    pitch = min(SIZE) / CELLS
    return [
        (luma + picture_change(shape, luma, weight, turn_at(KEY, number / RATE), pitch, 1.0)).astype(np.uint8)
        for number, luma in enumerate(pictures)
    ]


def read(pictures: Sequence[np.ndarray], key: MarkKey = KEY, cropped: bool = False):
    look = Look()
    for number, luma in enumerate(pictures):
        look.add(luma, number / RATE)
    return read_picture(key, look.looked, cropped)


@pytest.fixture(scope="module")
def clean() -> list[np.ndarray]:
    return scene(10, seed=1)


@pytest.fixture(scope="module")
def film(clean: list[np.ndarray]) -> list[np.ndarray]:
    return marked(clean)


def test_the_id_is_read_after_a_cut_and_in_half_size(film: list[np.ndarray]) -> None:
    half = [cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for luma in film[27:67]]
    found = read(half)
    assert found.p < 1e-12
    assert decode(KEY, found.soft).id == ID


def test_the_id_is_read_from_a_crop(film: list[np.ndarray]) -> None:
    found = read([luma[6:291, 8:388] for luma in film], cropped=True)
    assert found.p < 1e-12
    assert decode(KEY, found.soft).id == ID
    assert read([luma[6:291, 8:388] for luma in film]).p > 1e-3  # the search is what finds it


def test_the_change_is_42_db_below_white(clean: list[np.ndarray], film: list[np.ndarray]) -> None:
    error = np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(clean, film, strict=True)])
    assert 42 < 10 * np.log10(255**2 / error) < 50


def test_nothing_changes_where_the_weight_is_zero(clean: list[np.ndarray]) -> None:
    weight = np.zeros(SIZE[::-1], np.float32)
    weight[100:200, 100:250] = 1
    for luma, after in zip(clean[:16], marked(clean[:16], weight), strict=True):
        assert (luma[weight == 0] == after[weight == 0]).all()
    assert (np.array(marked(clean[:16], weight)) != np.array(clean[:16])).any()


def test_a_part_of_the_pattern_is_the_part_of_the_whole() -> None:
    whole = pattern(KEY, ID, SIZE, (0, 0, *SIZE))
    part = pattern(KEY, ID, SIZE, (37, 51, 141, 170))
    assert np.allclose(part, whole[51:170, 37:141], atol=0.07)  # positions are rounded to 1/32 of a pixel
    assert np.abs(whole).max() <= 1


def test_unmarked_pictures_and_other_keys_give_no_mark(
    clean: list[np.ndarray], film: list[np.ndarray]
) -> None:
    assert read(clean).p > 1e-3
    assert read(clean, cropped=True).p > 1e-3
    assert read(film, OTHER).p > 1e-3


def test_the_statistic_of_unmarked_pictures_is_normal(clean: list[np.ndarray]) -> None:
    """At one place and time, over keys. The p-value answers for all places and times, and for the tail of few large terms."""
    look = Look()
    for number, luma in enumerate(clean[:24]):
        look.add(luma, number / RATE)
    found = [first_deviate(MarkKey(number.to_bytes(32, "big")), look.looked) for number in range(200)]
    assert kstest(found, norm.cdf).pvalue > 1e-4
    assert 0.85 < np.std(found) < 1.15
    whole = read_picture(KEY, look.looked, cropped=False)
    assert whole.tried == 32
    assert whole.p == pytest.approx(min(1, 3.18 * 32 * norm.sf(whole.z)))


def test_cells_that_repeat_in_a_very_wide_picture_count_once() -> None:
    values, _ = cell_values(np.ones([192, 600], np.float32), (2, 2), (0, 0))
    assert values.shape == (96, 256)


def test_signs_turn_over_smoothly_and_as_often_to_either_side() -> None:
    assert picture_layout(KEY).turns.sum() == 0
    values = [turn_at(KEY, n / 100) for n in range(int(100 * BLOCK * BLOCKS))]
    assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 0.3
    assert abs(sum(values)) < 20
    assert turn_at(KEY, 1.25) == turn_at(KEY, 1.25 + BLOCK * BLOCKS)


def test_no_pictures_hold_no_mark() -> None:
    assert read([]).p == 1
    assert read(scene(0.2, 3)).p == 1
