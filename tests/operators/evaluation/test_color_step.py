"""Steps of tone at the edge of what was drawn."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.evaluation.color_step import ColorStep, color_step
from operators.media.reader import read_frames
from operators.segment import Segment


def drawn_on(source: np.ndarray, change: np.ndarray, feather: float) -> np.ndarray:
    """A disc in the middle changed, softly at its border where ``feather`` says so."""
    disc = np.zeros(source.shape[:2], np.float32)
    cv2.circle(disc, (60, 60), 40, 1.0, -1)
    soft = cv2.GaussianBlur(disc, (0, 0), feather) * disc if feather else disc
    return np.clip(np.rint(source + soft[..., None] * change), 0, 255).astype(np.uint8)


@pytest.fixture
def source() -> np.ndarray:
    return np.random.default_rng(0).integers(90, 130, (120, 120, 3)).astype(np.uint8)


def test_a_hard_edge_of_another_tone_counts_its_levels(source: np.ndarray) -> None:
    tone = np.array([10.0, 10.0, 10.0])
    assert color_step(drawn_on(source, tone, 0), source) == pytest.approx(10, abs=1)
    assert color_step(drawn_on(source, tone, 16), source) < 6
    tint = np.array([9.0, 0.0, -9.0])
    assert color_step(drawn_on(source, tint, 0), source) == pytest.approx(9 * math.sqrt(2 / 3), abs=1)


def test_texture_alone_is_no_step(source: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0, 15, source.shape)
    assert color_step(drawn_on(source, noise, 0), source) < 3


def test_a_region_that_fills_the_picture_has_an_edge(source: np.ndarray) -> None:
    assert color_step(source + np.uint8(20), source) == pytest.approx(20, abs=0.5)
    assert math.isnan(color_step(source, source))


def test_frames_that_were_not_drawn_have_none(carphone: Path) -> None:
    (frame,) = read_frames(str(carphone), 0, 1)
    assert math.isnan(ColorStep().sample(Segment({}), 0, frame))
    box = (40, 30, 120, 110)
    frame.paste(
        box, np.clip(frame.rgb(box).astype(int) + 25, 0, 255).astype(np.uint8), np.ones((80, 80), np.float32)
    )
    assert ColorStep().sample(Segment({}), 0, frame) > 15
