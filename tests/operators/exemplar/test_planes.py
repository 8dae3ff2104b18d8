"""Arithmetic on luma and half-size chroma does what it does on red, green and blue."""

import cv2
import numpy as np
import pytest

from operators.exemplar.planes import Planes, colours, gained, warped
from operators.media.color import rgb_to_yuv, yuv_to_rgb
from operators.media.picture_420 import Picture420
from operators.numeric.halving import halved

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("full", [True, False])
def test_cells_take_the_gains_of_their_colours(full):
    to_rgb, to_yuv = yuv_to_rgb(1, full, 8, 720), rgb_to_yuv(1, full, 8, 720)
    rgb = RNG.uniform(20, 120, (20, 24, 3)).astype(np.float32)
    gain = np.array([1.3, 0.8, 1.1], np.float32)
    lit, lighter = gained(
        cv2.transform(rgb, to_yuv), np.broadcast_to(np.log(gain), rgb.shape).astype(np.float32), to_rgb
    )
    np.testing.assert_allclose(colours(lit, to_rgb), rgb * gain, atol=0.1)
    assert lighter.min() > 0.7
    assert lighter.max() < 1.4


def test_blacker_than_black_is_no_trouble():
    to_rgb = yuv_to_rgb(1, False, 8, 720)
    ycc = np.stack([np.linspace(0, 40, 24), np.full(24, 128), np.full(24, 128)], -1)[None].astype(np.float32)
    lit, lighter = gained(ycc, np.full((1, 24, 3), 0.7, np.float32), to_rgb)
    assert np.isfinite(lit).all()
    assert lighter.min() >= 1
    assert lighter.max() < np.exp(0.7) + 0.01


@pytest.mark.parametrize("size", [(40, 60), (37, 55)])
def test_a_shift_moves_luma_and_chroma_alike(size):
    height, width = size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    luma = np.rint(60 + 2 * x + y).astype(np.uint8)
    chroma = np.dstack([halved(60 + 2 * x + y), halved(200 - x - y)])
    picture = Picture420(luma, np.rint(chroma).astype(np.uint8), yuv_to_rgb(6, True, 8, 480))
    moved = warped(picture, x + 3, y - 2)
    assert moved.luma.shape == luma.shape
    assert moved.chroma.shape == chroma.shape
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(moved.luma[inner], (luma.astype(float) + 4)[inner], atol=0.01)
    np.testing.assert_allclose(moved.chroma[..., 0][inner], (chroma[..., 0] + 4)[inner], atol=1)
    np.testing.assert_allclose(moved.chroma[..., 1][inner], (chroma[..., 1] - 1)[inner], atol=1)


def test_a_part_is_written_back_rounded_and_within_bytes():
    picture = Picture420(np.zeros((20, 24), np.uint8), np.full((10, 12, 2), 9, np.uint8), np.eye(3, 4))
    part = Planes(np.full((8, 6), 300.0, np.float32), np.full((4, 3, 2), -3.0, np.float32))
    part.luma[0, 0] = 7.6
    part.into(picture, (4, 2, 10, 10))
    assert picture.luma[2, 4] == 8
    assert picture.luma[3:10, 4:10].min() == 255
    assert (picture.chroma[1:5, 2:5] == 0).all()
    assert picture.luma.sum() == 8 + 255 * 47
    assert (picture.chroma == 9).sum() == picture.chroma.size - 24
