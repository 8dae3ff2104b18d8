"""The metric "sharpness" on real frames: 1 for the source's own detail, lower where it is blurred."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.evaluation.sharpness import Sharpness
from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.segment import Segment

BOX = (40, 30, 120, 110)
ROW = Segment({})


@pytest.fixture
def frame(carphone: Path) -> Frame:
    return next(iter(read_frames(str(carphone), 10, 11)))


def drawn(frame: Frame, rgb: np.ndarray) -> float:
    frame.paste(BOX, rgb, np.ones(rgb.shape[:2], np.float32))
    return Sharpness().sample(ROW, 0, frame)


def test_frames_that_are_not_drawn_on_have_no_value(frame: Frame) -> None:
    assert frame.drawn is None
    assert math.isnan(Sharpness().sample(ROW, 0, frame))


def test_brighter_pixels_of_the_same_detail_are_as_sharp(frame: Frame) -> None:
    rgb = np.clip(frame.rgb(BOX).astype(int) + 6, 0, 255).astype(np.uint8)
    assert drawn(frame, rgb) == pytest.approx(1.0, abs=0.05)


def test_blur_lowers_it_step_by_step(carphone: Path) -> None:
    values = []
    for sigma in (0.7, 1.5, 3.0):
        frame = next(iter(read_frames(str(carphone), 10, 11)))
        values.append(drawn(frame, cv2.GaussianBlur(frame.rgb(BOX), (0, 0), sigma)))
    assert 0.9 > values[0] > values[1] > values[2] > 0


def test_noise_raises_it(frame: Frame) -> None:
    noise = np.random.default_rng(0).normal(0, 25, (80, 80, 3))
    assert drawn(frame, np.clip(frame.rgb(BOX) + noise, 0, 255).astype(np.uint8)) > 1.5
