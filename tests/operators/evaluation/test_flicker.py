"""Flicker of what was drawn, apart from a mouth that moves."""

from __future__ import annotations

import math
import weakref
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from operators.evaluation.flicker import Flicker, flicker
from operators.evaluation.triplets import PERIOD, Triplets
from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.segment import Segment

BOX = (40, 30, 120, 110)


def test_brightness_flickers_and_a_mouth_does_not() -> None:
    still = np.full((3, 64, 64), 5.0, np.float32)
    assert flicker(still) == 0
    unsteady = still + np.array([4, -4, 4], np.float32)[:, None, None]
    assert flicker(unsteady) == pytest.approx(16)
    mouth = still.copy()
    mouth[1, 30:50, 20:44] -= 80
    assert flicker(mouth) == 0
    assert math.isnan(flicker(0 * still))


class Referable(Frame):
    """A frame that weak references can refer to."""


def test_frames_are_held_until_three_are_together() -> None:
    triplets, segment, held = Triplets(), Segment({}), []
    seen: list[weakref.ref[Frame]] = []
    for index in range(2 * PERIOD):
        frame = Referable(index, index, VideoFrame(16, 16, "yuv420p"), None)  # type: ignore[arg-type]
        seen.append(weakref.ref(frame))
        triplets.take(segment, index, frame)
        del frame
        held.append(sum(one() is not None for one in seen))
    assert held == [1, 2, *[0] * (PERIOD - 2)] * 2


def test_three_drawn_frames_in_a_row_are_looked_at(carphone: Path) -> None:
    metric, row, found = Flicker(), Segment({}), []
    for index, frame in enumerate(read_frames(str(carphone), 0, PERIOD + 3)):
        if index != PERIOD + 1:
            level = 3 if index % 2 else -3
            rgb = np.clip(frame.rgb(BOX).astype(int) + level, 0, 255).astype(np.uint8)
            frame.paste(BOX, rgb, np.ones((80, 80), np.float32))
        found.append(metric.sample(row, index, frame))
    assert found[2] == pytest.approx(12, abs=1.5)
    assert np.isnan(np.delete(found, 2)).all(), "the second group has a frame that was not drawn"
