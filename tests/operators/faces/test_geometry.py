"""Index groups, mouth measures and head pose against faces whose pose and opening are known by construction."""

import cv2
import numpy as np
import pytest

from operators.faces import geometry
from operators.faces.geometry import (
    angles,
    camera_matrix,
    eye_distance,
    head_model,
    head_pose,
    lip_opening,
    mouth_width,
)
from tests.operators.faces.head import rotation_matrix

SIZE = (1280, 720)


def project(
    model: np.ndarray,
    yaw: float,
    pitch: float,
    roll: float,
    tvec: tuple[float, float, float] = (60.0, -40.0, 900.0),
) -> np.ndarray:
    rvec = cv2.Rodrigues(rotation_matrix(yaw, pitch, roll))[0]
    return cv2.projectPoints(model, rvec, np.array(tvec), camera_matrix(SIZE), np.zeros(4))[0][:, 0]


def test_groups_cover_every_point_once() -> None:
    groups = [
        geometry.JAW,
        geometry.LEFT_BROW,
        geometry.RIGHT_BROW,
        geometry.NOSE,
        geometry.EYES,
        geometry.OUTER_LIPS,
        np.setdiff1d(geometry.MOUTH, geometry.OUTER_LIPS),
    ]
    assert sorted(np.concatenate(groups)) == list(range(68))


def test_mirror_is_an_involution_that_mirrors_the_head() -> None:
    assert np.array_equal(geometry.MIRROR[geometry.MIRROR], np.arange(68))
    model = head_model()
    assert np.isfinite(model).all()
    np.testing.assert_allclose(model[geometry.MIRROR] * [-1, 1, 1], model)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(0, 0, 0), (35, 0, 0), (-50, 10, 0), (0, -25, 5), (20, 15, -40), (-10, 5, 120)]
)
def test_pose_of_a_projected_head_is_found_again(yaw: float, pitch: float, roll: float) -> None:
    pose = head_pose(project(head_model(), yaw, pitch, roll), SIZE)
    np.testing.assert_allclose([pose.yaw, pose.pitch, pose.roll], [yaw, pitch, roll], atol=0.05)
    np.testing.assert_allclose(pose.tvec, [60, -40, 900], rtol=1e-3)
    assert pose.error < 1e-4


def test_pose_signs_are_those_of_the_picture() -> None:
    frontal = project(head_model(), 0, 0, 0)
    tip = frontal[30] - frontal[geometry.EYES].mean(0)
    for yaw, pitch, axis in [(20, 0, 0), (0, 20, 1)]:
        turned = project(head_model(), yaw, pitch, 0)
        moved = (turned[30] - turned[geometry.EYES].mean(0) - tip)[axis]
        assert moved > 5 if axis == 0 else moved < -5  # right in the picture; up in the picture
    tilted = project(head_model(), 0, 0, 20)
    assert (tilted[45] - tilted[36])[1] > 10  # clockwise: the right eye goes down


def test_pose_survives_landmark_noise_and_a_speaking_jaw() -> None:
    noise = np.random.default_rng(0)
    speaking = head_model().copy()
    speaking[geometry.MOUTH[9:]] += (0, 12, 3)
    speaking[geometry.JAW] += (0, 10, 2)
    found = [
        head_pose(project(speaking, 25, -10, 5) + noise.normal(0, 0.3, (68, 2)), SIZE) for _ in range(20)
    ]
    np.testing.assert_allclose(
        [[p.yaw, p.pitch, p.roll] for p in found], np.tile([25, -10, 5], (20, 1)), atol=4
    )


def test_angles_invert_rotation_matrix() -> None:
    for wanted in [(10, 20, 30), (-70, 5, -100), (60, -40, 170)]:
        np.testing.assert_allclose(angles(rotation_matrix(*wanted)), wanted, atol=1e-9)


@pytest.mark.parametrize("turn", [(0, 0, 0), (45, 10, -20), (-30, -15, 5)])
def test_the_rotation_between_a_model_and_its_turned_copy(turn: tuple[float, float, float]) -> None:
    model = geometry.head_model()[geometry.RIGID]
    seen = 3.7 * model @ rotation_matrix(*turn).T + [400, 300, 0]
    seen[0] += 500  # a point without weight
    weights = np.where(np.arange(len(model)) == 0, 0.0, 1.0)
    np.testing.assert_allclose(
        geometry.rotation_between(model, seen, weights), rotation_matrix(*turn), atol=1e-9
    )


def test_mouth_measures_are_in_eye_distances_and_follow_scale_and_tilt() -> None:
    model = head_model()[:, :2]
    opened = model.copy()
    opened[[65, 66, 67]] += (0, 12)
    turn = rotation_matrix(0, 0, 33)[:2, :2]
    for scale in (1.0, 4.0):
        points = np.stack([model, opened]) @ turn.T * scale
        np.testing.assert_allclose(eye_distance(points), eye_distance(model) * scale)
        opening = lip_opening(points)
        assert opening[1] - opening[0] == pytest.approx(12 / eye_distance(model))
        np.testing.assert_allclose(mouth_width(points), 50 / eye_distance(model))


def test_crossed_lips_are_negative() -> None:
    crossed = head_model()[:, :2].copy()
    crossed[[65, 66, 67]] -= (0, 5)
    assert lip_opening(crossed) < 0
