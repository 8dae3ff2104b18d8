"""Additions of the default mode to the original's functions: framing over time, hearing, masks, compositing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from operators.numeric import affine
from operators.retalk import (
    align3d,
    coefficients,
    enet_stage,
    enhance,
    face_boxes,
    framing,
    lnet_stage,
    mel,
    restore,
)
from operators.retalk.blend_stage import composite
from operators.retalk.detectors import NetworkDetectors, RecordedDetectors
from operators.retalk.dnet_stage import window
from operators.retalk.mel_windows import windows
from operators.retalk.nets import Networks
from operators.retalk.network_inputs import SIDE
from operators.retalk.network_runner import Compute
from operators.retalk.parity_dubbing import smoothed_box
from operators.retalk.source import check_expression, read_expression
from retalk_models import build
from retalk_models.layers.region import Region
from tests.operators.retalk.test_functions import head

RNG = np.random.default_rng(4)
STANDARD = np.array([[-0.31, 0.3, 0.2], [0.31, 0.3, 0.2], [0, 0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]])


def face_in_box() -> np.ndarray:
    """Landmarks float64[68, 2] of a face that fills a box of 384: jaw, brows, eyes, mouth."""
    points = head((192, 185), 130).astype(np.float64)
    angle = np.linspace(np.pi, 0, 17)
    points[0:17] = np.stack([192 + 165 * np.cos(angle), 150 + 200 * np.sin(angle)], 1)
    points[17:27] = np.stack([np.linspace(60, 324, 10), np.full(10, 95)], 1)
    around = np.linspace(0, 2 * np.pi, 20)
    points[48:68] = np.stack([192 + 50 * np.cos(around), 270 + 20 * np.sin(around)], 1)
    return points


def walk(frames: int) -> np.ndarray:
    """Landmarks float32[T, 68, 2] of a head that moves and comes nearer, with jitter."""
    time = np.arange(frames)
    still = head((0, 0), 60)
    scale = 1 + 0.004 * time
    path = np.stack([300 + 3 * time, 250 + 20 * np.sin(time / 9)], 1)
    noise = RNG.normal(0, 0.8, (frames, 68, 2))
    return (still * scale[:, None, None] + path[:, None] + noise).astype(np.float32)


def test_boxes_follow_the_head_calmly_and_do_not_depend_on_the_segment() -> None:
    landmarks = walk(80)
    valid = np.ones(80, bool)
    valid[[30, 31, 55]] = False
    boxes = framing.crop_boxes(landmarks, valid)
    assert (boxes[~valid] == 0).all()
    # They stay on the head and shake less than the landmarks do.
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    raw = landmarks[:, 27:36].mean(1)
    assert np.abs((middle - raw)[valid] - (middle - raw)[valid].mean(0)).max() < 12
    quiet = slice(2, 28)
    assert (
        np.abs(np.diff(middle[quiet], 2, axis=0)).mean()
        < 0.7 * np.abs(np.diff(landmarks[quiet, 30], 2, axis=0)).mean()
    )
    for start, stop in ((20, 60), (33, 52)):
        low, high = max(0, start - framing.REACH), min(80, stop + framing.REACH)
        part = framing.crop_boxes(landmarks[low:high], valid[low:high])[start - low : stop - low]
        assert (part == boxes[start:stop]).all()


def test_face_boxes_hold_the_face_and_stay_in_the_picture() -> None:
    landmarks = walk(40)
    size = (360, 300)
    boxes = framing.face_boxes(landmarks, np.ones(40, bool), (0, 20, 0, 0), size)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= size).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 2).all()
    inside = landmarks[0, :, 0]
    assert boxes[0, 0] <= inside.min() + 3
    assert boxes[0, 2] >= inside.max() - 3
    assert boxes[0, 3] >= landmarks[0, :, 1].max() + 17  # the padding below the chin


def test_short_runs_of_frames_are_smoothed_too() -> None:
    values = np.linspace(0, 9, 10)[:, None] + RNG.normal(0, 0.1, (10, 1))
    valid = np.ones(10, bool)
    valid[[3, 5]] = False
    smoothed = framing.smooth(values, valid)
    assert smoothed[4] == pytest.approx(values[4])  # alone: itself
    assert np.abs(smoothed[valid] - np.arange(10)[valid, None]).max() < 0.6


def test_pose_in_another_crop_is_the_pose_measured_there() -> None:
    landmarks = head((400, 300), 70).astype(np.float64)
    boxes = np.array([[250, 120, 560, 430], [230, 90, 600, 460]])
    picture = np.zeros((framing.CROP, framing.CROP, 3), np.uint8)
    measured = [
        align3d.align(picture, affine.apply(framing.into_box(b, framing.CROP), landmarks), STANDARD)[1][2:]
        for b in boxes
    ]
    moved = framing.move_pose(measured[0][None], boxes[:1], boxes[1])[0]
    np.testing.assert_allclose(moved, measured[1], rtol=1e-4, atol=0.02)


def test_window_is_the_originals_where_the_crop_stands_still() -> None:
    rows = RNG.normal(size=(40, 262)).astype(np.float32)
    boxes = np.tile(np.array([100, 100, 356, 356]), (40, 1))
    expression = RNG.normal(size=64).astype(np.float32)
    for t in (0, 20, 39):
        ours = window(rows, boxes, t, [(0, 40)], expression)
        np.testing.assert_allclose(ours, coefficients.window(rows, t, 1.0, expression), atol=1e-4)
    # A run of valid frames ends a window as a clip's end does.
    np.testing.assert_allclose(
        window(rows, boxes, 20, [(3, 8), (18, 40)], expression),
        coefficients.window(rows[18:], 2, 1.0, expression),
        atol=1e-4,
    )


def heard_at(spectrogram: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Windows that the stage lets L-Net hear."""
    starts = torch.from_numpy(lnet_stage.first_columns(times))
    return windows(torch.from_numpy(spectrogram), starts, mel.CHUNK, lnet_stage.SILENCE).numpy()


def test_speech_is_cut_as_the_original_cuts_it() -> None:
    spectrogram = RNG.normal(size=(80, 200)).astype(np.float32)
    starts = mel.chunk_starts(200, 25)[:-1]
    ours = heard_at(spectrogram, np.arange(len(starts)) / 25)
    assert all((chunk == spectrogram[:, s : s + 16]).all() for chunk, s in zip(ours, starts, strict=True))
    beyond = heard_at(spectrogram, np.array([-1.0, 2.4, 9.0]))
    assert (beyond[0] == lnet_stage.SILENCE).all()
    assert (beyond[1][:, :8] == spectrogram[:, 192:]).all()
    assert (beyond[1][:, 8:] == lnet_stage.SILENCE).all()
    assert (beyond[2] == lnet_stage.SILENCE).all()


def test_lips_hear_the_windows_of_a_speech_that_is_on_the_device() -> None:
    """Bit for bit what they hear where windows are stacked on the CPU."""

    class Echo(torch.nn.Module):
        def forward(self, heard: torch.Tensor, pair: torch.Tensor) -> torch.Tensor:
            level = heard.flatten(1).double().mul(torch.arange(80 * 16) + 1.0).sum(1).float()
            return pair[:, :3] + level[:, None, None, None]

    networks = Networks(Compute(exact=True, batch=2), loader=lambda name: Echo())
    spectrogram = RNG.normal(size=(80, 40)).astype(np.float32)
    pairs = RNG.integers(0, 255, (5, 96, 96, 6), np.uint8)
    times = np.array([-0.1, 0.0, 0.1, 0.33, 0.49])
    spoken = networks.speak(spectrogram, lnet_stage.first_columns(times), pairs, lnet_stage.SILENCE)
    padded = np.pad(spectrogram, ((0, 0), (16, 16)), constant_values=lnet_stage.SILENCE)
    stacked = np.stack([padded[:, 16 + start : 32 + start] for start in (-8, 0, 8, 26, 39)])
    np.testing.assert_array_equal(spoken, networks.lips(stacked, pairs))
    assert len(np.unique(spoken.mean((1, 2, 3)))) == 5


def test_noise_in_pauses_is_heard_as_silence_and_speech_is_not_touched() -> None:
    time = np.arange(16000 * 3) / 16000
    speech = RNG.normal(0, 0.2, len(time)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    speech[16000:32000] = 0
    spectrogram = mel.mel_spectrogram(speech + RNG.normal(0, 0.002, len(time))).astype(np.float32)
    gated = lnet_stage.gate(spectrogram)
    assert (gated[:, 90:150] == lnet_stage.SILENCE).all()
    assert (spectrogram[:, 90:150] > lnet_stage.SILENCE).any()
    assert (gated[:, 5:70] == spectrogram[:, 5:70]).all()
    assert (gated[:, 170:235] == spectrogram[:, 170:235]).all()


def test_the_own_mouth_returns_softly_after_the_speech() -> None:
    strength = lnet_stage.lasting(np.arange(0, 2, 0.04), 80, 0.2)
    assert (strength[:25] == 1).all()
    assert (np.diff(strength) <= 0).all()
    assert 0 < strength[27] < 1
    assert (strength[31:] == 0).all()


def test_smoothed_boxes_one_by_one_equal_the_clips() -> None:
    for frames in (1, 3, 4, 5, 6, 9, 20):
        raw = RNG.integers(0, 400, (frames, 4))
        clip = face_boxes.smooth_boxes(raw)
        for i in range(frames):
            low, high = max(0, i - 4), min(frames, i + 5)
            assert (smoothed_box(raw[low:high], low, i, frames) == clip[i]).all()


def test_the_lower_face_alone_is_what_enet_draws_there() -> None:
    net = build("enet", low_res=False)
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 25
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)
    low, reference = RNG.random((1, 96, 96, 3), np.float32), RNG.random((1, 256, 256, 3), np.float32)
    networks = Networks(loader=lambda name, **options: net)
    networks._modules["enet None [('low_res', False)]"] = net
    whole = networks.faces(low, reference)
    part = networks.draw(low, networks.identity(reference), top=enet_stage.TOP)
    assert part.shape == (1, SIDE - enet_stage.TOP, SIDE, 3)
    np.testing.assert_allclose(part, whole[:, enet_stage.TOP :], atol=2e-4 * np.abs(whole).max())


def test_mask_covers_the_jaw_and_leaves_the_eyes_and_the_boxs_border() -> None:
    points = face_in_box()
    for parsed in (None, np.zeros((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.float32)):
        mask = enet_stage.outline(parsed, points, 8, whole=False)
        assert (mask[: enet_stage.RISE_FROM] == 0).all()
        assert (mask[[0, -1]] == 0).all()
        assert (mask[:, [0, -1]] == 0).all()
        x, y = np.rint(points[48:68].mean(0)).astype(int)
        assert mask[y, x] == 255
        assert (mask[:300, : int(points[0, 0]) - enet_stage.NEAR] == 0).all(), "far from the face"
        # No hard edge: steps of the mask are small.
        assert np.abs(np.diff(mask.astype(int), axis=1)).max() < 90


@pytest.mark.parametrize(
    ("angle", "feather", "whole"),
    [(0, 8, False), (0, 60, False), (25, 8, False), (-40, 0, False), (15, 8, True)],
)
def test_what_is_pasted_depends_on_no_other_labels_than_those_computed(
    angle: float, feather: float, whole: bool
) -> None:
    turn = np.deg2rad(angle)
    points = (face_in_box() - SIDE / 2) @ np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    ) * 0.9 + SIDE / 2
    matrix = restore.alignment(align3d.five_points(points))
    everywhere = np.zeros((restore.SIZE, restore.SIZE), np.uint8)
    parsed, cells = enet_stage.PARSED, RNG.choice([0, 1, 10, 13], (40, 48)).astype(np.uint8)
    everywhere[parsed.top : parsed.bottom, parsed.left : parsed.right] = cells.repeat(8, 0).repeat(8, 1)

    def pasted(region: Region) -> tuple[np.ndarray, np.ndarray]:
        labels, inside = (
            np.zeros_like(everywhere),
            np.s_[region.top : region.bottom, region.left : region.right],
        )
        labels[inside] = everywhere[inside]
        back, size = affine.invert(matrix), (SIDE, SIDE)
        skin = cv2.warpAffine(np.isin(labels, enhance.FACE_LABELS).astype(np.float32), back, size)
        mouth = cv2.warpAffine(enet_stage.mouth_weight(labels), back, size) * enet_stage.ramp()[:, None]
        return enet_stage.outline(skin, points, feather, whole), mouth

    def same(region: Region) -> bool:
        return all((a == b).all() for a, b in zip(pasted(region), pasted(parsed), strict=True))

    asked = enet_stage.labelled(points, matrix, feather, whole)
    assert asked.joined(parsed) == parsed
    assert same(asked)
    if (angle, feather) == (0, 8):
        less = [(24, 0, 0, 0), (0, -48, 0, 0), (0, 0, 40, 0), (0, 0, 0, -40)]
        assert not any(same(Region(*np.add(asked, change))) for change in less), (
            "it is no larger than it has to be"
        )
        assert (asked.bottom - asked.top) * (asked.right - asked.left) < 0.6 * (
            parsed.bottom - parsed.top
        ) * (parsed.right - parsed.left)


def test_composite_changes_nothing_outside_the_mask_and_puts_the_face_inside() -> None:
    own = RNG.integers(60, 90, (301, 257, 3), dtype=np.uint8)
    face = np.full((SIDE, SIDE, 3), 200, np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[220:340, 90:300] = 255
    rgb, alpha = composite(own, face, mask, 1.0, 4)
    assert rgb.shape == own.shape
    assert (alpha[:170] == 0).all()
    assert alpha[220, 128] == 1
    assert np.abs(rgb[220, 128].astype(int) - 200).max() < 12
    _, weak = composite(own, face, mask, 0.25, 4)
    assert weak.max() == pytest.approx(0.25)


def test_expression_files(tmp_path: Path) -> None:
    row = np.arange(262, dtype=np.float32)
    np.save(tmp_path / "row.npy", row)
    np.savetxt(tmp_path / "own.txt", np.linspace(-1, 1, 64))
    np.savetxt(tmp_path / "few.csv", np.zeros(63), delimiter=",")
    assert (read_expression(str(tmp_path / "row.npy")) == row[80:144]).all()
    assert read_expression(str(tmp_path / "own.txt")).shape == (64,)
    with pytest.raises(ValueError, match=r"few\.csv: an expression is 64 .* has 63"):
        read_expression(str(tmp_path / "few.csv"))
    check_expression("smile")
    with pytest.raises(ValueError, match=r"laughing.*neutral, smile"):
        check_expression("laughing")
    with pytest.raises(ValueError, match="no such file"):
        check_expression(str(tmp_path / "missing.png"))


def test_recorded_detections_answer_and_say_what_they_lack(tmp_path: Path) -> None:
    boxes = np.array([[1.0, 2, 30, 40], [np.nan, 0, 0, 0]])
    np.savez(tmp_path / "some.npz", face_boxes=boxes)
    frame = np.zeros((64, 64, 3), np.uint8)
    recorded = RecordedDetectors(str(tmp_path / "some.npz"), NetworkDetectors(Networks()))
    answer = recorded.face_box(0, frame)
    assert answer is not None
    assert answer.tolist() == [1, 2, 30, 40]
    assert recorded.face_box(1, frame) is None
    assert recorded.clip_landmarks(0, frame) is None  # the real detector: an empty frame has no face
    with pytest.raises(ValueError, match="ends before frame 2"):
        recorded.face_box(2, frame)
    np.savez(tmp_path / "odd.npz", boxen=boxes)
    with pytest.raises(ValueError, match="boxen"):
        RecordedDetectors(str(tmp_path / "odd.npz"), NetworkDetectors(Networks()))
