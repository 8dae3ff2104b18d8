"""Compiled loops: the same numbers as NumPy's and OpenCV's calls give."""

import cv2
import numpy as np
import pytest

from operators.exemplar.warp import kernel
from operators.exemplar.warp_kernels import (
    between_nodes,
    half_size,
    influence,
    raise_to,
    rounded_into,
    share_moved,
)
from operators.numeric.masks import smoothstep


def _random(*shape, scale=1.0):
    return np.random.default_rng(3).normal(0, scale, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "nodes"), [((57, 45), (5, 4)), ((1, 1), (2, 2)), ((9, 1), (30, 20)), ((3, 2), (1, 1))]
)
def test_values_between_nodes_are_linear(size, nodes):
    (width, height), (columns, rows) = size, nodes
    grid = _random(rows, columns, 2)
    x, y = np.linspace(0, columns - 1, width), np.linspace(0, rows - 1, height)
    for axis, found in enumerate(between_nodes(grid, width, height)):
        lines = np.stack([np.interp(x, np.arange(columns), line) for line in grid[..., axis]])
        wanted = np.stack([np.interp(y, np.arange(rows), column) for column in lines.T], 1)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_what_is_alike_at_all_nodes_is_exactly_that_between_them():
    grid = np.full((6, 7, 2), (0.1, -3.3), np.float32)
    dx, dy = between_nodes(grid, 101, 77)
    assert (dx == np.float32(0.1)).all()
    assert (dy == np.float32(-3.3)).all()


def test_share_of_pixels_that_move():
    dx, dy = _random(20, 31, scale=0.3), _random(31, 20, scale=0.3).T
    found = share_moved(dx, dy, 0.0625, 0.3125)
    wanted = smoothstep((np.maximum(np.abs(dx), np.abs(dy)) - 0.0625) * 4)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert (share_moved(np.full((2, 2), 0.0625, np.float32), dx[:2, :2] * 0, 0.0625, 0.3125) == 0).all()


def test_share_is_raised_in_place_and_nowhere_lowered():
    whole, reach = np.abs(_random(12, 14)), np.linspace(-0.1, 0.6, 30, dtype=np.float32).reshape(5, 6)
    before, part = whole.copy(), whole[3:8, 4:10]
    raise_to(part, reach)
    np.testing.assert_allclose(part, np.maximum(before[3:8, 4:10], smoothstep(reach * 4)), atol=1e-6)
    whole[3:8, 4:10] = before[3:8, 4:10]
    assert np.array_equal(whole, before)


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1), (2, 3)])
def test_positions_of_half_size_planes(size):
    """Where nothing moves, a chroma sample comes from itself; where it does, from the mean of its four pixels' places."""
    width, height = size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    maps = x + _random(height, width), y - _random(height, width)
    padded = [cv2.copyMakeBorder(one, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE) for one in maps]
    for found, one in zip(half_size(*maps), padded, strict=True):
        means = one.reshape(one.shape[0] // 2, 2, one.shape[1] // 2, 2).mean((1, 3))
        np.testing.assert_allclose(found, (means - 0.5) / 2, atol=1e-5)
    if width % 2 == height % 2 == 0:
        own_x, own_y = half_size(x, y)
        assert np.array_equal(own_x[0], np.arange(width // 2))
        assert np.array_equal(own_y[:, 0], np.arange(height // 2))


def test_rounding_into_a_part():
    plane = np.array([[-3, 0.5, 1.5], [254.5, 255.4, 900], [7.49, 7.51, 200]], np.float32)
    target = np.full((5, 6), 33, np.uint8)
    rounded_into(plane, target[1:4, 2:5])
    assert target[1:4, 2:5].tolist() == [[0, 0, 2], [254, 255, 255], [7, 8, 200]]
    assert (target == 33).sum() == 30 - 9


def test_influence_is_the_sum_over_the_kernel():
    places, centres, weights = _random(40, 2, scale=30), _random(11, 2, scale=30), _random(11, 2)
    apart = ((places[:, None] - centres[None]) ** 2).sum(-1)
    np.testing.assert_allclose(
        influence(places, centres, weights, 50.0), kernel(apart, 50.0) @ weights, atol=1e-4
    )
    far = influence(places + 1000, centres, weights, 50.0)
    assert not far.any()
