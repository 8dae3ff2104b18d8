"""Laplacian pyramids: bands collapse to the picture, masks choose, and the finest band has its own."""

import numpy as np
import pytest

from operators.numeric import pyramid

RNG = np.random.default_rng(1)
NOISE = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.mark.parametrize("levels", [1, 2, 6])
def test_bands_collapse_to_the_picture(levels: int) -> None:
    parts = pyramid.bands(NOISE, levels)
    assert [part.dtype for part in parts] == [np.float32] * levels
    np.testing.assert_allclose(pyramid.collapse(parts), NOISE, atol=1e-3)


def test_blending_equal_pictures_changes_nothing() -> None:
    mask = RNG.random((256, 256)).astype(np.float32)
    assert np.abs(pyramid.blend(NOISE, NOISE, mask, 6) - NOISE).max() < 1e-3


def test_a_full_mask_takes_the_first_picture() -> None:
    ones = np.ones((256, 256), np.float32)
    assert np.abs(pyramid.blend(NOISE, 255 - NOISE, ones, 6) - NOISE).max() < 1e-3


def test_masked_by_one_is_the_picture_itself_and_without_its_finest_band_noise_is_lost() -> None:
    difference = RNG.normal(0, 20, (61, 83, 3)).astype(np.float32)
    full, none = np.ones((61, 83), np.float32), np.zeros((61, 83), np.float32)
    ones, zeros = pyramid.gaussian(full, 4), pyramid.gaussian(none, 4)
    without_finest = [none, *ones[1:]]
    np.testing.assert_allclose(pyramid.masked(difference, ones), difference, atol=1e-3)
    np.testing.assert_array_equal(pyramid.masked(difference, [full]), difference)
    assert not pyramid.masked(difference, zeros).any()
    one = np.ascontiguousarray(difference[..., 1])
    np.testing.assert_allclose(pyramid.masked(one, ones), one, atol=1e-3)
    slope = np.linspace(0, 90, 83, dtype=np.float32)[None, :, None] + 0 * difference
    np.testing.assert_allclose(pyramid.masked(slope, without_finest)[8:-8, 8:-8], slope[8:-8, 8:-8], atol=0.5)
    assert pyramid.masked(difference, without_finest).std() < 0.6 * difference.std()
