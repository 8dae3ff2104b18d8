"""The target's own face in the wanted shape: no second chin, no folds, and nothing moves beyond the rim."""

import numpy as np
import pytest

from operators.exemplar.jaw import MOST_JAW, base_field, face_box, moving_region, rim
from operators.exemplar.warp import face_axes, face_unit, grid_nodes, positions
from operators.faces.geometry import CHIN, MOUTH
from tests.operators.exemplar.footage import carphone, open_mouth

SIZE = (528, 432)


def test_a_closing_mouth_leaves_no_second_chin():
    _, landmarks, _ = carphone()
    wide = open_mouth(landmarks[2], 0.14)
    shut = landmarks[2]
    box = face_box(wide, shut, SIZE)
    x, y = positions(*base_field(wide, shut, box, SIZE).dense())
    unit, (_, down) = face_unit(wide), face_axes(wide)

    def read_at(point):
        column, row = np.round(point - box[:2]).astype(int)
        return np.array([x[row, column] + box[0], y[row, column] + box[1]])

    # The new chin shows the old one; where that was, and all the way down, lies what was below it.
    np.testing.assert_allclose(read_at(shut[CHIN]), wide[CHIN], atol=0.03 * unit)
    for share in (0.0, 0.02, 0.05, 0.1):
        assert read_at(wide[CHIN] + share * unit * down) @ down > wide[CHIN] @ down
    # The rim stays where it is.
    for point in rim(wide, shut, unit):
        assert np.linalg.norm(read_at(point) - point) < 0.03 * unit


def test_base_field_never_folds():
    _, landmarks, _ = carphone()
    rng = np.random.default_rng(3)
    for _ in range(20):
        shape = open_mouth(landmarks[0], rng.uniform(-0.2, 0.5)) + 0
        shape[MOUTH] += rng.normal(0, 4, (20, 2))
        field = base_field(landmarks[0], shape.astype(np.float32), face_box(landmarks[0], shape, SIZE), SIZE)
        assert field.jacobian().min() > 0


def test_a_yawn_that_shuts_moves_the_chin_only_so_far():
    """Parts outside the frame cannot be pulled up: the chin lags, and the collar stays."""
    _, landmarks, _ = carphone()
    wide = open_mouth(landmarks[2], 0.8)
    box = face_box(wide, landmarks[2], SIZE)
    dx, dy = base_field(wide, landmarks[2], box, SIZE).dense()
    assert np.hypot(dx, dy)[: int(wide[CHIN, 1] - box[1]) + 40].max() < 0.8 * face_unit(wide)
    x, y = np.round(wide[CHIN] - box[:2]).astype(int)
    assert np.hypot(dx, dy)[y - 30 : y + 1, x].max() < 1.25 * MOST_JAW * face_unit(wide)


def test_nothing_moves_above_the_nose_beyond_the_rim_or_on_the_border():
    _, landmarks, _ = carphone()
    shape = open_mouth(landmarks[2], 0.15)
    unit, box = face_unit(shape), face_box(landmarks[2], shape, SIZE)
    nodes = grid_nodes((box[2] - box[0], box[3] - box[1]), 4.0)
    window = moving_region(nodes, landmarks[2], shape, box, SIZE, unit)[..., 0]
    assert not window[[0, -1]].any()
    assert not window[:, [0, -1]].any()

    def at(point):
        column, row = np.round((point - box[:2]) / 4.0).astype(int)
        return window[np.clip(row, 0, window.shape[0] - 1), np.clip(column, 0, window.shape[1] - 1)]

    assert at(landmarks[2][30]) == 0
    assert all(at(point) > 0.95 for point in shape[[*range(5, 12), *MOUTH]])
    assert all(at(point) < 0.05 for point in rim(landmarks[2], shape, unit, 0.3))


@pytest.mark.parametrize("shift", [(-400, 0), (600, 0), (0, 500), (0, -400)])
def test_boxes_of_faces_outside_the_picture_are_still_boxes(shift):
    _, landmarks, _ = carphone()
    moved = landmarks[0] + np.array(shift, np.float32)
    x1, y1, x2, y2 = face_box(moved, moved, SIZE)
    assert 0 <= x1 < x2 <= SIZE[0]
    assert 0 <= y1 < y2 <= SIZE[1]
