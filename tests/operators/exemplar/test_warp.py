"""Dense warps: they pass through the landmarks, die away, never fold."""

import numpy as np
import pytest

from operators.exemplar.warp import (
    Field,
    face_unit,
    grid_nodes,
    kernel,
    order_lips,
    positions,
    solve_field,
    unfold,
)
from tests.operators.exemplar.footage import astronaut, carphone


def _field(moves, points, size=(120, 90), step=4.0, radius=80.0):
    return solve_field(points, moves, grid_nodes(size, step), size, radius)


def _at(field, points):
    dx, dy = field.dense()
    x, y = np.round(points).astype(int).T
    return np.stack([dx[y, x], dy[y, x]], -1)


def test_no_move_is_exactly_no_move():
    points = np.random.default_rng(0).uniform(5, 85, (20, 2))
    dx, dy = _field(np.zeros((20, 2)), points).dense()
    assert not dx.any()
    assert not dy.any()


def test_passes_through_points_and_ends_at_the_radius():
    points = np.array([[20, 20], [40, 22], [60, 24], [30, 50], [55, 52]], float)
    moves = np.array([[3, 0], [-2, 4], [0, -3], [5, 1], [-4, -2]], float)
    field = _field(moves, points, (300, 200), 2.0, 80.0)
    np.testing.assert_allclose(_at(field, points), moves, atol=0.15)
    assert _at(field, np.array([[299, 199], [160, 100]])).max() == 0


def test_kernel_is_one_at_zero_and_zero_beyond():
    values = kernel(np.array([0.0, 25.0, 100.0, 400.0]), 10.0)
    assert values[0] == 1
    assert 0 < values[1] < 1
    assert values[2] == values[3] == 0


def test_nodes_span_the_crop_and_dense_agrees_with_them():
    nodes = grid_nodes((101, 51), 10.0)
    assert nodes[0, 0].tolist() == [0, 0]
    assert nodes[-1, -1].tolist() == [100, 50]
    field = Field(np.random.default_rng(1).normal(size=nodes.shape).astype(np.float32), (101, 51))
    np.testing.assert_allclose(_at(field, nodes.reshape(-1, 2)), field.grid.reshape(-1, 2), atol=0.02)


def test_a_field_is_exactly_linear_between_its_nodes():
    """Positions in an exemplar are a field too: steps of a part of a cell would be seen as teeth that tremble."""
    size = (569, 487)
    x, y = Field(grid_nodes(size, 17.0), size).dense()
    np.testing.assert_allclose(x, np.broadcast_to(np.arange(569), x.shape), atol=1e-3)
    np.testing.assert_allclose(y, np.broadcast_to(np.arange(487)[:, None], y.shape), atol=1e-3)


def test_positions_are_places_plus_displacement():
    x, y = positions(*Field(np.full((2, 2, 2), (0.5, -1), np.float32), (4, 3)).dense())
    assert x[0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert y[:, 0].tolist() == [-1, 0, 1]


def test_unfold_removes_folds_and_keeps_sound_fields():
    points = np.array([[40, 45], [50, 45], [60, 45]], float)
    folded = _field(np.array([[30, 0], [0, 0], [-30, 0]], float), points)
    assert folded.jacobian().min() < 0
    assert unfold(folded).jacobian().min() > 0
    sound = _field(np.array([[3, 0], [0, 0], [-3, 0]], float), points)
    assert np.array_equal(unfold(sound).grid, sound.grid)
    hidden = np.ones(folded.grid.shape[:2], bool)
    assert np.array_equal(unfold(folded, hidden=hidden).grid, folded.grid)


def test_crossed_lips_meet_and_others_stay():
    landmarks = carphone()[1][0].copy()
    landmarks[[61, 62, 63], 1] = landmarks[[67, 66, 65], 1] + 4
    fixed = order_lips(landmarks)
    np.testing.assert_allclose(fixed[[61, 62, 63], 1], fixed[[67, 66, 65], 1], atol=1.5)
    untouched = np.setdiff1d(np.arange(68), [61, 62, 63, 65, 66, 67])
    assert np.array_equal(fixed[untouched], landmarks[untouched])
    opened = astronaut()[1]
    assert np.array_equal(order_lips(opened), opened)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_face_unit_scales_with_the_picture(scale):
    landmarks = astronaut()[1]
    assert face_unit(landmarks * scale) == pytest.approx(scale * face_unit(landmarks), rel=1e-5)
