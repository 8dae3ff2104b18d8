"""Frames as tensors against `Frame`: the same RGB, the same pasted samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from operators.media.color import ColorTags
from operators.media.formats import working_format
from operators.media.frames import Frame, FrameLayout
from operators.media.orientation import Orientation
from operators.media.tensor_frames import PlanarFrames
from retalk_models.inference.probes import picture

HEIGHT, WIDTH, SIDE = 96, 128, 48
CORNERS = torch.tensor([[10, 24], [46, 80]])


def planes() -> np.ndarray:
    """uint8[2, 3 h / 2, w]."""
    luma = picture(2, 1, HEIGHT, WIDTH, low=16, high=235).numpy().reshape(2, HEIGHT, WIDTH)
    chroma = picture(2, 2, HEIGHT // 2, WIDTH // 2, low=60, high=190).numpy().reshape(2, HEIGHT // 2, WIDTH)
    return np.concatenate([luma, chroma], 1).round().astype(np.uint8)


def frame(samples: np.ndarray, matrix: int) -> Frame:
    form = working_format("yuv420p", WIDTH, HEIGHT)
    layout = FrameLayout(form, ColorTags(matrix=matrix), Orientation(), WIDTH, HEIGHT)
    return Frame(0, 0, VideoFrame.from_ndarray(samples, format="yuv420p"), layout)


@pytest.mark.parametrize("matrix", [1, 6])
def test_pictures_are_the_frames(matrix: int) -> None:
    made = planes()
    frames = PlanarFrames(HEIGHT, WIDTH, matrix)
    rgb = frames.rgb(frames.part(torch.from_numpy(made), CORNERS, SIDE)).permute(0, 2, 3, 1).numpy()
    for k, (y, x) in enumerate(CORNERS.tolist()):
        assert np.abs(rgb[k] - frame(made[k], matrix).rgb((x, y, x + SIDE, y + SIDE))).max() <= 1


def test_pasted_samples_are_the_frames() -> None:
    made = planes()
    frames, tensors = PlanarFrames(HEIGHT, WIDTH), torch.from_numpy(made.copy())
    drawn = picture(2, 3, SIDE, SIDE, high=255).round()
    alpha = torch.zeros(2, 1, SIDE, SIDE)
    alpha[0, :, 5:30, 7:41], alpha[1, :, 12:20, 3:9] = 1, 0.4
    frames.paste(tensors, frames.part(tensors, CORNERS, SIDE), drawn, alpha)
    for k, (y, x) in enumerate(CORNERS.tolist()):
        theirs = frame(made[k], 1)
        rgb = np.ascontiguousarray(drawn[k].permute(1, 2, 0).numpy().astype(np.uint8))
        theirs.paste((x, y, x + SIDE, y + SIDE), rgb, alpha[k, 0].numpy())
        gap = np.abs(tensors[k].numpy().astype(int) - theirs.picture.to_ndarray())
        assert gap.max() <= 1
        assert (tensors[k].numpy() != made[k]).any()


def test_what_is_not_pasted_changes_nothing() -> None:
    """Not even where it is no number."""
    made = planes()
    frames, tensors = PlanarFrames(HEIGHT, WIDTH), torch.from_numpy(made.copy())
    drawn = torch.full((2, 3, SIDE, SIDE), math.nan)
    frames.paste(tensors, frames.part(tensors, CORNERS, SIDE), drawn, torch.zeros(2, 1, SIDE, SIDE))
    assert (tensors.numpy() == made).all()


def test_sizes_that_have_no_planes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        PlanarFrames(98, 128)
    with pytest.raises(ValueError, match="even"):
        PlanarFrames(96, 127)
