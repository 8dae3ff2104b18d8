"""Linking of boxes to tracks, and SyncNet's crops."""

from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.face_tracks import PADDING, FaceTrack, crop_face, link_faces
from operators.media.reader import read_frames
from tests.pipelines.conftest import make_video

ONE, OTHER = np.array([100.0, 100, 300, 300]), np.array([500.0, 100, 700, 300])
NOBODY = np.zeros((0, 4))


def link(
    detections: list[np.ndarray], cuts: tuple[int, ...] = (), longer_than: int = 5
) -> list[tuple[int, int]]:
    return [(track.start, track.stop) for track in link_faces(detections, cuts, longer_than=longer_than)]


def test_two_people_have_a_track_each_though_their_order_changes() -> None:
    frames = [np.stack([ONE, OTHER] if index % 2 else [OTHER, ONE]) + index for index in range(20)]
    first, second = link_faces(frames, longer_than=5)
    for track in (first, second):
        assert (track.start, track.stop) == (0, 20)
        np.testing.assert_array_equal(np.diff(track.boxes, axis=0), 1)


def test_gaps_are_filled_by_interpolation_up_to_25_frames() -> None:
    moved = ONE + np.array([26.0, 0, 26, 0])
    (track,) = link_faces([ONE[None]] * 6 + [NOBODY] * 24 + [moved[None]] * 6, longer_than=5)
    assert len(track.boxes) == 36
    np.testing.assert_allclose(track.boxes[5:31, 0], np.linspace(100, 126, 26))
    assert link([ONE[None]] * 6 + [NOBODY] * 25 + [ONE[None]] * 6) == [(0, 6), (31, 37)]


def test_cuts_and_jumps_end_a_track() -> None:
    assert link([ONE[None]] * 20, cuts=(8,)) == [(0, 8), (8, 20)]
    # 100 px of 200 aside: a third is shared.
    assert link([ONE[None]] * 10 + [ONE[None] + np.array([100.0, 0, 100, 0])] * 10) == [(0, 10), (10, 20)]


def test_short_tracks_and_small_faces_are_dropped() -> None:
    assert link([ONE[None]] * 5) == []
    assert link([ONE[None]] * 6) == [(0, 6)]
    assert link([np.array([[10.0, 10, 109, 109]])] * 9) == []
    assert link([NOBODY] * 9) == []


def test_boxes_are_smoothed_by_a_median() -> None:
    boxes = np.tile(ONE, (30, 1))
    boxes[15] += 40
    geometry = FaceTrack(0, boxes).geometry()
    np.testing.assert_allclose(geometry[7:23], [[200, 200, 100]] * 16)


def test_a_crop_shows_the_box_with_its_margin() -> None:
    """1.4 halves to each side; from the box's top to 1.8 halves below its centre."""
    rows, columns = np.mgrid[0:400, 0:600]
    picture = np.stack([rows / 2, columns / 3, rows * 0 + 50], -1).astype(np.uint8)
    crop = crop_face(picture, np.array([300.0, 200, 100])).astype(float)
    assert crop.shape == (224, 224, 3)
    assert crop[:4, :, 0].mean() == pytest.approx((200 - 100) / 2, abs=2)
    assert crop[-4:, :, 0].mean() == pytest.approx((200 + 180) / 2, abs=2)
    assert crop[:, :4, 1].mean() == pytest.approx((300 - 140) / 3, abs=2)
    assert crop[:, -4:, 1].mean() == pytest.approx((300 + 140) / 3, abs=2)


def test_outside_the_picture_it_is_grey() -> None:
    white = np.full((200, 200, 3), 255, np.uint8)
    corner = crop_face(white, np.array([0.0, 0, 50]))
    assert (corner[:60, :100] == PADDING).all()
    assert (corner[100:, 140:] == 255).all()
    assert (crop_face(white, np.array([900.0, 900, 50])) == PADDING).all()


def test_a_crop_of_a_frame_is_that_of_its_picture(tmp_path: Path) -> None:
    """Small, beyond the picture's edge and outside it to the bit; large ones, converted after resizing, by rounding."""
    path = make_video(tmp_path / "v.mp4", frames=1, size=(640, 480), sound=False)
    (frame,) = read_frames(str(path), 0, 1)
    picture = frame.rgb()
    for geometry in ((320, 200, 60), (5, 10, 90), (630, 470, 200), (-900, 100, 50)):
        row = np.array(geometry, float)
        np.testing.assert_array_equal(crop_face(frame, row), crop_face(picture, row))
    large = np.array([301.0, 211, 120])
    difference = np.abs(crop_face(frame, large).astype(int) - crop_face(picture, large))
    assert difference.mean() < 1
    assert np.percentile(difference, 99) <= 3
