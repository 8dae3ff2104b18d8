"""Properties of the neural engine's functions that need no recorded data."""

import numpy as np
import pytest

from operators.evaluation.lse import sync_score
from operators.numeric import affine
from operators.retalk import (
    align3d,
    boxes,
    coefficients,
    emotion,
    enhance,
    face_boxes,
    mel,
    oriented_crops,
    restore,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)


def head(centre: tuple[float, float], eyes: float) -> np.ndarray:
    """68 points of a schematic upright face whose eyes are ``eyes`` px apart."""
    points = np.zeros((68, 2))
    points[:] = centre
    points[36:42] += (-eyes / 2, -eyes / 2)
    points[42:48] += (eyes / 2, -eyes / 2)
    points[48] += (-eyes / 3, eyes / 2)
    points[54] += (eyes / 3, eyes / 2)
    return points


def test_speech_shorter_than_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than one chunk"):
        mel.chunk_starts(15, 25)
    with pytest.raises(ValueError, match="finite"):
        mel.mel_spectrogram(np.array([0.0, np.nan], np.float32))


@pytest.mark.parametrize("fps", [12.5, 24, 25, 29.97, 50, 60])
def test_a_chunk_for_every_frame_and_the_last_one_ends_the_speech(fps: float) -> None:
    columns = 400
    starts = mel.chunk_starts(columns, fps)
    assert starts[-1] == columns - mel.CHUNK
    assert (np.diff(starts) >= 0).all()
    assert len(starts) == pytest.approx((columns - mel.CHUNK) / mel.COLUMNS_PER_SECOND * fps + 1, abs=2)


def test_an_oriented_crop_returns_to_its_place() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[100:160, 90:170] = (200, 30, 90)
    quad = oriented_crops.oriented_crops(head((128, 130), 40)[None])[0]
    again = oriented_crops.paste_aligned(
        picture, oriented_crops.aligned_crop(picture, quad), oriented_crops.inverse_perspective(quad)
    )
    assert np.abs(again.astype(int) - picture).mean() < 2


def test_boxes_are_smoothed_forward() -> None:
    moving = np.array([[10 * i, 0, 10 * i + 100, 100] for i in range(10)])
    smooth = face_boxes.face_boxes(moving, (0, 0, 0, 0), (640, 480))
    assert smooth[0].tolist() == [0, 100, 20, 120]


def test_alignment_and_its_inverse_belong_together() -> None:
    turn = np.array([[0.8, -0.6], [0.6, 0.8]]) * 1.7
    forward, back, scale = enhance.alignment((enhance.reference_points() - [3, -4]) @ np.linalg.inv(turn).T)
    assert scale == pytest.approx(1.7)
    assert forward == pytest.approx(np.c_[turn, [3, -4]])
    assert affine.compose(back, forward) == pytest.approx(np.eye(2, 3), abs=1e-6)


def test_windows_clamp_at_the_ends_of_the_title() -> None:
    assert coefficients.window_indices(0, 100)[:14].tolist() == [0] * 14
    assert coefficients.window_indices(99, 100)[13:].tolist() == [99] * 13


def test_a_picture_without_a_good_face_says_so() -> None:
    with pytest.raises(ValueError, match=r"0\.9"):
        enhance.process(
            NOISE,
            NOISE,
            np.array([[0, 0, 9, 9, 0.5]]),
            np.zeros((1, 5, 2)),
            lambda face: np.zeros((512, 512), int),
        )
    assert restore.restore(NOISE, None, lambda face: face) is NOISE


def test_overlapping_boxes_are_suppressed() -> None:
    detections = np.array([[0, 0, 100, 100, 0.8], [5, 5, 105, 105, 0.9], [300, 300, 400, 400, 0.7]])
    assert boxes.suppress(detections, 0.3).tolist() == [1, 2]


def test_a_map_without_faces_gives_none() -> None:
    scores = [np.stack([np.ones((4, 4)), np.zeros((4, 4))]) for _ in range(6)]
    found = boxes.decode_s3fd(scores, [np.zeros((4, 4, 4))] * 6)
    assert found.shape == (0, 5)
    assert boxes.best_box(found) is None


def test_a_face_at_the_border_is_cropped_with_black() -> None:
    centre, scale = boxes.fan_region(np.array([-10, -10, 40, 40]))
    crop = boxes.fan_crop(np.full((64, 64, 3), 255, np.uint8), centre, scale)
    assert crop.shape == (256, 256, 3)
    assert crop[0, 0].max() == 0
    assert crop[128, 128].min() == 255


def test_sad_acts_unless_parity_is_asked() -> None:
    assert emotion.action_units("sad").any()
    assert not emotion.action_units("sad", parity=True).any()
    with pytest.raises(ValueError, match="bored"):
        emotion.action_units("bored")  # type: ignore[arg-type]


def test_the_224_crop_is_centred_on_the_face() -> None:
    standard = np.array(
        [[-0.3, 0.3, 0.2], [0.3, 0.3, 0.2], [0, 0, 0.4], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]]
    )
    picture = np.zeros((480, 640, 3), np.uint8)
    landmarks = head((400, 200), 60)
    picture[190:210, 390:410] = 255
    crop, _ = align3d.align(picture, landmarks, standard)
    ys, xs = np.nonzero(crop[..., 0] > 128)
    assert abs(xs.mean() - 112) < 12
    assert abs(ys.mean() - 112) < 40


@pytest.mark.parametrize("late", [-4, 0, 6])
def test_an_offset_between_lips_and_sound_is_found(late: int) -> None:
    features = RNG.normal(size=(120, 1024)).astype(np.float32)
    score = sync_score(features[20:100], features[20 + late : 100 + late])
    assert score.offset == late
    assert score.lse_c > 10
