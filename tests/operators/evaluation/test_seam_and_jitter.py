"""Seams and shimmer of drawn regions, made on purpose."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.evaluation.jitter import Jitter, jitter
from operators.evaluation.seam import Seam, seam_visibility
from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.segment import Segment

BOX = (40, 30, 120, 110)
ROW = Segment({})


def frames(carphone: Path, count: int) -> list[Frame]:
    return list(read_frames(str(carphone), 10, 10 + count))


def draw(frame: Frame, brighter: int, fade: float) -> None:
    """Brighten the box; the change fades out over ``fade`` pixels at its rim."""
    rgb = np.clip(frame.rgb(BOX).astype(int) + brighter, 0, 255).astype(np.uint8)
    inside = np.zeros((80, 80), np.uint8)
    inside[1:-1, 1:-1] = 1
    alpha = np.clip(cv2.distanceTransform(inside, cv2.DIST_L2, 5) / max(fade, 1e-3), 0, 1)
    frame.paste(BOX, rgb, alpha.astype(np.float32))


def test_a_hard_edge_shows_and_a_faded_one_does_not(carphone: Path) -> None:
    values = []
    for fade in (0, 6, 20):
        (frame,) = frames(carphone, 1)
        draw(frame, 40, fade)
        values.append(Seam().sample(ROW, 0, frame))
    assert values[0] > 2 * values[1] > 2 * values[2] >= 0


def test_a_step_on_a_flat_picture_counts_its_levels() -> None:
    source = np.full((40, 40), 100, np.uint8)
    drawn = source.copy()
    drawn[10:30, 10:30] += 20
    assert seam_visibility(drawn, source) == pytest.approx(20)
    drawn[18:22, 18:22] = 100  # a hole is no rim
    assert seam_visibility(drawn, source) == pytest.approx(20)
    assert seam_visibility(drawn[10:30, 10:30], source[10:30, 10:30]) == pytest.approx(20)


def test_small_changes_have_no_seam(carphone: Path) -> None:
    (frame,) = frames(carphone, 1)
    assert math.isnan(Seam().sample(ROW, 0, frame))
    source = np.full((40, 40), 100, np.uint8)
    assert math.isnan(seam_visibility(source + 1, source))
    with pytest.raises(ValueError, match="does not lie on"):
        seam_visibility(source[1:], source)


def test_even_changes_do_not_jitter_and_alternating_ones_do() -> None:
    flat = np.full((4, 4), 100, np.uint8)
    assert jitter(flat, flat + 3, flat + 6) == 0
    assert jitter(flat, flat + 3, flat) == pytest.approx(6)
    with pytest.raises(ValueError, match="not consecutive"):
        jitter(flat, flat, flat[1:])


def measured(shown: list[Frame], brighter: list[int]) -> list[float]:
    metric, values = Jitter(), []
    for index, (frame, more) in enumerate(zip(shown, brighter)):
        draw(frame, more, 0)
        values.append(metric.sample(ROW, index, frame))
    return values


def test_jitter_is_the_excess_over_the_footage(carphone: Path) -> None:
    steady = measured(frames(carphone, 5), [20] * 5)
    assert np.isnan([*steady[:2], *steady[3:]]).all(), "three frames of every twelve"
    assert abs(steady[2]) < 0.5
    shaking = measured(frames(carphone, 5), [20, 30, 20, 30, 20])
    assert shaking[2] > 5


def test_jitter_is_not_measured_over_gaps(carphone: Path) -> None:
    first, second, _, fourth, fifth = frames(carphone, 5)
    assert np.isnan(measured([first, second, fourth, fifth], [20, 30, 20, 30])).all()
