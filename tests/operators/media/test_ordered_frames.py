"""Frames in any order: what runs backwards is held in blocks, long gaps are sought over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from operators.media.frames import Frame
from operators.media.ordered_frames import chosen_frames, source_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames


def test_falling_sources_are_held_in_blocks(carphone: Path) -> None:
    """A stretch that runs backwards is decoded in blocks of bounded length, each frame once."""
    info = probe_video(str(carphone))
    alive: list[int] = []
    most = 0
    for frame in source_frames(info.url, np.arange(60, 4, -1), info, 8):
        alive.append(frame.index)
        most = max(most, len(alive))
    assert alive == list(range(60, 4, -1))
    spans: list[int] = []

    def counted(url: str, start: int, stop: int, video: VideoInfo) -> Iterator[Frame]:
        spans.append(stop - start)
        return read_frames(url, start, stop, video)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operators.media.ordered_frames.read_frames", counted)
        assert len(list(source_frames(info.url, np.arange(60, 4, -1), info, 8))) == 56
    assert max(spans) <= 8
    assert sum(spans) == 56


def test_chosen_frames_skip_long_gaps(carphone: Path) -> None:
    info = probe_video(str(carphone))
    wanted = np.array([2, 3, 9, 80, 81])
    assert [frame.index for frame in chosen_frames(info.url, wanted, info)] == wanted.tolist()
    assert list(chosen_frames(info.url, wanted[:0], info)) == []
