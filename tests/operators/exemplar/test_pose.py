"""Pose: found on known heads, taken out and put back exactly; what a nod does to a chin."""

import numpy as np

from operators.exemplar.pose import smooth_valid, track_pose
from operators.faces.geometry import eye_distance
from tests.operators.exemplar.talker import SIZE, speech_like, talker


def swinging(count: int) -> np.ndarray:
    phase = np.linspace(0, 2 * np.pi, count)
    return np.stack([18 * np.sin(phase), 18 * np.cos(2 * phase), 8 * np.sin(phase + 1)], -1)


def test_pose_of_a_swinging_head_is_found() -> None:
    truth = swinging(120)
    face = talker(0.08 + 0.05 * speech_like(120, 1), angles=truth, noise=0.5)
    pose = track_pose(face.landmarks, np.ones(120, bool), SIZE)
    assert np.abs(pose.angles - truth).mean() < 1.0
    assert np.abs(np.diff(pose.angles - truth, 2, axis=0)).mean() < 0.12, (
        "and does not jitter as the points do"
    )
    assert np.abs(pose.translation[:, 2] / face.pose.translation[:, 2] - 1).max() < 0.03


def test_frontal_takes_the_pose_out() -> None:
    face = talker(np.full(120, 0.05), angles=swinging(120))
    frontal = track_pose(face.landmarks, np.ones(120, bool), SIZE).frontal(face.landmarks)
    chin_to_eyes = frontal[:, 8, 1] - frontal[:, 36:48, 1].mean(1)
    flat = (face.landmarks[:, 8, 1] - face.landmarks[:, 36:48, 1].mean(1)) / eye_distance(face.landmarks)
    assert chin_to_eyes.std() / chin_to_eyes.mean() < 0.003
    assert flat.std() / flat.mean() > 0.02, (
        "the picture's own measure does change: the test's head really nods"
    )
    assert np.abs(frontal - face.frontal).max() < 3.0


def test_project_is_the_inverse_of_frontal() -> None:
    face = talker(0.08 + 0.05 * speech_like(60, 2), angles=swinging(60), noise=0.5)
    pose = track_pose(face.landmarks, np.ones(60, bool), SIZE)
    assert np.allclose(pose.project(pose.frontal(face.landmarks), np.arange(60)), face.landmarks, atol=1e-3)


def test_a_mouth_put_into_another_pose_is_that_heads_mouth() -> None:
    opening = np.array([0.2] * 30 + [0.02] * 30)
    angles = np.array([[12.0, 0, 5]] * 30 + [[-5.0, 10, -5]] * 30)
    face, same_pose = talker(opening, angles=angles), talker(opening[::-1], angles=angles)
    pose = track_pose(face.landmarks, np.ones(60, bool), SIZE)
    moved = pose.project(pose.frontal(face.landmarks)[[10]], np.array([50]))[0]
    assert np.abs(moved[48:68] - same_pose.landmarks[50, 48:68]).max() < 0.03 * eye_distance(
        face.landmarks[50]
    )


def test_frames_without_a_face_take_their_neighbours_pose_and_disturb_nobody() -> None:
    angles = np.tile([5.0, 3.0, 2.0], (40, 1))
    face = talker(np.full(40, 0.05), angles=angles)
    valid = np.ones(40, bool)
    valid[15:25] = False
    broken = face.landmarks.copy()
    broken[15:25] = 7.0
    pose = track_pose(broken, valid, SIZE)
    assert np.abs(pose.angles - pose.angles[0]).max() < 0.1
    assert np.isfinite(pose.translation).all()


def test_smooth_valid() -> None:
    values = np.array([0.0, 0, 0, 99, 1, 1, 1, np.nan])
    smooth = smooth_valid(values, np.array([1, 1, 1, 0, 1, 1, 1, 0], bool), 1.0)
    assert np.all(np.diff(smooth) >= 0)
    assert smooth[0] < 0.1
    assert smooth[-1] > 0.9
    alone = smooth_valid(np.array([5.0, 3.0, 4.0]), np.array([False, True, False]), 2.0)
    assert np.allclose(alone, 3.0)
