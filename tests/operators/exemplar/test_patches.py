"""Patches of exemplars: exact, sized in advance, bounded, and gone afterwards."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from operators.exemplar.patches import MAX_WIDTH, PatchStore, patch_box
from operators.faces.geometry import MOUTH
from tests.operators.exemplar.footage import astronaut, carphone, picture_420


def _fill(store, frames, numbers):
    for number in numbers:
        x1, y1, x2, y2 = store.box(number)
        store.add(number, picture_420(frames[number][y1:y2, x1:x2]))


def test_keeps_the_very_pixels_around_the_mouth():
    frames, landmarks, _ = carphone()
    size = frames[0].shape[1::-1]
    with PatchStore([3, 17], landmarks[[3, 17]], size, 1 << 30) as store:
        _fill(store, frames, [3, 17])
        patch = store[17]
        x, y = (int(v) for v in patch.origin)
        w, h = patch.size
        seen = picture_420(frames[17][y : y + h, x : x + w])
        assert np.array_equal(patch.picture.luma, seen.luma)
        assert np.array_equal(patch.picture.chroma, seen.chroma)
        assert patch.scale == 1
        assert np.array_equal(patch.landmarks, landmarks[17])
        mouth = landmarks[17][MOUTH]
        assert (mouth > [x, y]).all()
        assert (mouth < [x + w, y + h]).all()
        assert not store.spilled


def test_beyond_the_limit_it_lies_in_a_file_that_goes_away(tmp_path, monkeypatch):
    frames, landmarks, _ = carphone()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    size = frames[0].shape[1::-1]
    with (
        PatchStore([0, 1, 2], landmarks[:3], size, 1000) as store,
        PatchStore([0, 1, 2], landmarks[:3], size, 1 << 30) as memory,
    ):
        assert store.spilled
        _fill(store, frames, [0, 1, 2])
        _fill(memory, frames, [0, 1, 2])
        assert all(np.array_equal(store[i].picture.rgb, memory[i].picture.rgb) for i in range(3))
    assert list(Path(tmp_path).iterdir()) == []


def test_huge_faces_are_reduced_and_stay_in_place():
    _, landmarks, _ = astronaut()
    large = (landmarks * 16).astype(np.float32)
    size = (8192, 8192)
    with PatchStore([0], large[None], size, 1 << 30) as store:
        x1, y1, x2, y2 = store.box(0)
        assert x2 - x1 > MAX_WIDTH
        # A white spot of 40 pixels around the middle of the upper lip.
        crop = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
        x, y = np.round(large[51]).astype(int) - [x1, y1]
        crop[y - 20 : y + 21, x - 20 : x + 21] = 255
        store.add(0, picture_420(crop))
        patch = store[0]
        assert patch.size[0] == MAX_WIDTH
        assert store.bytes == patch.picture.luma.nbytes + patch.picture.chroma.nbytes
        weight = patch.picture.luma.astype(float)
        centre = (
            np.array(
                [(weight.sum(0) @ np.arange(weight.shape[1])), (weight.sum(1) @ np.arange(weight.shape[0]))]
            )
            / weight.sum()
        )
        np.testing.assert_allclose((large[51] - patch.origin) * patch.scale, centre, atol=0.3)


def test_boxes_stay_inside_the_picture():
    _, landmarks, _ = astronaut()
    for shift in ((-230, 0), (300, -100), (0, 400)):
        x1, y1, x2, y2 = patch_box(landmarks + np.array(shift, np.float32), (512, 512))
        assert 0 <= x1 < x2 <= 512
        assert 0 <= y1 < y2 <= 512


def test_a_frame_that_was_never_added_is_a_bug():
    _, landmarks, _ = carphone()
    with (
        PatchStore([5], landmarks[5:6], (528, 432), 1 << 30) as store,
        pytest.raises(AssertionError, match="never added"),
    ):
        store[5]
