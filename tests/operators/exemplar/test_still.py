"""A face whose footage has no other mouth: teeth stay, lip and jaw move, a dark gap opens."""

import numpy as np
import pytest

from operators.exemplar.jaw import face_box
from operators.exemplar.still import best_path, find_lip_line, still_composite
from operators.exemplar.warp import LOWER_INNER, UPPER_INNER, face_unit
from operators.faces.geometry import CHIN, lip_opening
from tests.operators.exemplar.footage import astronaut, carphone, find_landmarks, open_mouth

LUMA = np.array([0.299, 0.587, 0.114])


def _render(picture, landmarks, shape, line=None):
    size = picture.shape[1::-1]
    box = face_box(landmarks, shape, size)
    region = np.s_[box[1] : box[3], box[0] : box[2]]
    result, line = still_composite(np.ascontiguousarray(picture[region]), box, size, landmarks, shape, line)
    frame = picture.astype(np.float32)
    frame[region] += (result.rgb - frame[region]) * result.alpha[..., None]
    return np.round(frame).astype(np.uint8), result, line


@pytest.mark.parametrize("who", ["astronaut", "carphone"])
def test_the_own_shape_changes_nothing(who):
    picture, landmarks = astronaut()[:2] if who == "astronaut" else (carphone()[0][0], carphone()[1][0])
    frame, result, _ = _render(picture, landmarks, landmarks)
    assert np.array_equal(frame, picture)
    assert not result.alpha[[0, -1]].any()


def test_upper_teeth_stay_and_a_dark_gap_opens_below_them():
    picture, landmarks, _ = astronaut()
    shape = open_mouth(landmarks, 0.16)
    frame, _, line = _render(picture, landmarks, shape)
    middle = round(float(landmarks[62, 0]))
    edge = int(line.points[len(line.points) // 2, 1])
    teeth = np.s_[int(landmarks[62, 1]) + 1 : edge - 2, middle - 5 : middle + 6]
    assert np.abs(frame[teeth].astype(int) - picture[teeth]).max() <= 10
    assert (picture[teeth] @ LUMA).mean() > 180
    gap = np.s_[edge + 3 : int(shape[66, 1]) - 3, middle - 6 : middle + 7]
    luma = frame[gap] @ LUMA
    assert gap[0].stop - gap[0].start >= 4
    half = len(luma) // 2
    assert luma[:half].max() < 75
    # The tongue and the inside of the lip are lighter than the shadow below the teeth, and darker than the lip.
    own_lip = np.s_[int(landmarks[66, 1]) + 3 : int(landmarks[57, 1]), middle - 6 : middle + 7]
    assert luma[:half].mean() + 5 < luma[half:].mean() < 0.7 * (picture[own_lip] @ LUMA).mean()
    # No second row: nothing as bright as teeth below the gap's edge until the lip.
    lip = np.s_[int(shape[66, 1]) + 3 : int(shape[57, 1]), middle - 6 : middle + 7]
    assert abs(float((frame[lip] @ LUMA).mean() - (picture[own_lip] @ LUMA).mean())) < 12


def _at_teeth(frame, line, drop, unit):
    """Mean luma of the strip in which a lower lip that is lowered by ``drop`` uncovers the dark below the teeth."""
    rows = np.arange(len(line.points))[16:32]
    x, y = np.round(line.points[rows]).astype(int).T
    height = max(2, int(drop * unit))
    return float((np.stack([frame[y + step, x] for step in range(1, height)]) @ LUMA).mean())


def test_a_lip_against_the_teeth_stays_there_while_the_mouth_hardly_opens():
    picture, landmarks, _ = astronaut()
    unit = face_unit(landmarks)
    own = _at_teeth(*_render(picture, landmarks, landmarks)[::2], 0.06, unit)
    frame, _, line = _render(picture, landmarks, open_mouth(landmarks, 0.025))
    assert _at_teeth(frame, line, 0.06, unit) > 0.93 * own
    frame, _, line = _render(picture, landmarks, open_mouth(landmarks, 0.14))
    assert _at_teeth(frame, line, 0.06, unit) < 0.6 * own


def test_a_grey_picture_gets_a_grey_mouth():
    picture, landmarks, _ = astronaut()
    grey = np.repeat(np.round(picture @ LUMA).astype(np.uint8)[..., None], 3, -1)
    frame, _, _ = _render(grey, landmarks, open_mouth(landmarks, 0.16))
    assert np.ptp(frame.astype(int), axis=-1).max() <= 1


def test_lip_keeps_its_thickness_and_the_chin_follows():
    picture, landmarks, box = astronaut()
    frame, _, _ = _render(picture, landmarks, open_mouth(landmarks, 0.12))
    seen = find_landmarks([frame], [box])[0]
    unit = face_unit(landmarks)
    before, after = (np.linalg.norm(points[57] - points[66]) for points in (landmarks, seen))
    assert after == pytest.approx(before, abs=0.04 * unit)
    assert seen[CHIN, 1] - landmarks[CHIN, 1] == pytest.approx(0.09 * unit, abs=0.05 * unit)


def test_the_opening_that_a_detector_sees_follows_the_wanted_one():
    picture, landmarks, box = astronaut()
    drops = np.linspace(-0.05, 0.2, 8)
    shapes = np.array([open_mouth(landmarks, d) for d in drops])
    frames = [_render(picture, landmarks, s)[0] for s in shapes]
    seen = lip_opening(find_landmarks(frames, [box] * len(frames), consecutive=False))
    assert np.corrcoef(lip_opening(shapes), seen)[0, 1] > 0.95


def test_nothing_changes_away_from_the_lower_face():
    picture, landmarks, _ = astronaut()
    shape = open_mouth(landmarks, 0.2)
    frame, _, _ = _render(picture, landmarks, shape)
    changed = np.argwhere((frame != picture).any(-1))
    unit = face_unit(landmarks)
    assert changed[:, 0].min() > landmarks[[40, 41, 46, 47], 1].max()
    assert changed[:, 0].max() < shape[CHIN, 1] + 0.42 * unit
    assert changed[:, 1].min() > landmarks[0, 0] - 0.25 * unit
    assert changed[:, 1].max() < landmarks[16, 0] + 0.25 * unit


def test_the_lip_line_is_the_edge_between_teeth_and_lip():
    picture, landmarks, _ = astronaut()
    line = find_lip_line(picture, (0, 0), landmarks)
    rows = np.arange(len(line.points))[12:36]
    x, y = line.points[rows].T
    above = picture[np.round(y - 2).astype(int), np.round(x).astype(int)].astype(float)
    below = picture[np.round(y + 2).astype(int), np.round(x).astype(int)].astype(float)
    redness = [(p[:, 0] - p[:, 1]) / p.sum(1) for p in (above, below)]
    assert np.median(redness[1] - redness[0]) > 0.05
    # A shifted set of landmarks finds the same edge: it is the picture's, not the landmarks'.
    shifted = landmarks.copy()
    shifted[[*LOWER_INNER, *UPPER_INNER], 1] += 1.5
    again = find_lip_line(picture, (0, 0), shifted)
    moved = np.abs(
        again.points[rows, 1] - np.interp(again.points[rows, 0], line.points[:, 0], line.points[:, 1])
    )
    assert np.median(moved) < 0.8


def test_the_line_does_not_tremble():
    frames, landmarks, _ = carphone()
    first = find_lip_line(frames[0], (0, 0), landmarks[0])
    free = find_lip_line(frames[1], (0, 0), landmarks[1])
    held = find_lip_line(frames[1], (0, 0), landmarks[1], first)
    np.testing.assert_allclose(held.offset, (free.offset + 2 * first.offset) / 3, atol=1e-6)


def test_best_path_prefers_the_cheap_row_but_not_at_any_step():
    cost = np.ones((5, 6))
    cost[2] = 0
    assert best_path(cost).tolist() == [2] * 6
    cost[4, 3] = -0.5
    assert best_path(cost, stiffness=2.0).tolist() == [2] * 6
    cost[4, 3] = -9
    assert best_path(cost, stiffness=0.5)[3] == 4
