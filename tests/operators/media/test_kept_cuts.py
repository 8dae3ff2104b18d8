"""Parts of frames that are handed from one stage to another: the same pixels, for whoever asked, within bounds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.media.kept_cuts import KeptCuts
from operators.media.probe import probe_video
from operators.media.reader import read_frames

Zoo = Callable[[str], Path]
BOX = (9, 5, 40, 31)


class Asker:
    """Something that wants a part."""


def wanted(landmarks: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = (int(v) for v in landmarks[0])
    return x, y, min(x + 35, size[0]), min(y + 30, size[1])


def offered(kept: KeptCuts, url: str) -> None:
    kept.begin(url)
    points = np.full((68, 2), 7.0)
    points[0] = BOX[0] - 2, BOX[1] - 1
    for frame in read_frames(url, 0, 4):
        kept.offer(frame, points if frame.index else np.full((68, 2), np.nan))


@pytest.mark.parametrize(
    "name", ["cfr.mp4", "ten.mp4", "odd444.mp4", "gray.mkv", "turn90.mp4", "full422.mp4"]
)
def test_kept_parts_are_the_frames_pixels(zoo: Zoo, name: str) -> None:
    url, kept, asker = str(zoo(name)), KeptCuts(), Asker()
    kept.ask(asker, wanted)
    offered(kept, url)
    found = dict(kept.take(url, [(index, BOX) for index in range(6)]))
    assert sorted(found) == [1, 2, 3]  # frame 0 showed no face, 4 and 5 were not read
    for frame in read_frames(url, 1, 4):
        seen = frame.picture_420(BOX)
        np.testing.assert_array_equal(found[frame.index].luma, seen.luma)
        np.testing.assert_array_equal(found[frame.index].chroma, seen.chroma)


def test_only_what_was_asked_for_is_kept(zoo: Zoo) -> None:
    url, kept = str(zoo("cfr.mp4")), KeptCuts()
    offered(kept, url)
    assert kept.bytes == 0
    asker = Asker()
    kept.ask(asker, wanted)
    offered(kept, url)
    assert kept.bytes > 0
    x1, y1, x2, y2 = BOX
    assert not dict(kept.take(url, [(1, (x1 - 3, y1, x2, y2))]))  # more than was kept
    assert not dict(kept.take(str(zoo("ten.mp4")), [(1, BOX)]))  # of another video
    del asker
    gc.collect()
    assert kept.bytes == 0  # nobody is left who wants them
    offered(kept, url)
    assert kept.bytes == 0


def test_room_is_bounded(zoo: Zoo) -> None:
    url = str(zoo("cfr.mp4"))
    assert probe_video(url).n_frames >= 4
    frame = next(read_frames(url, 1, 2))
    one = frame.cut((BOX[0] - 2, BOX[1] - 1, BOX[0] + 33, BOX[1] + 29)).bytes
    kept, asker = KeptCuts(2 * one), Asker()
    kept.ask(asker, wanted)
    offered(kept, url)
    assert kept.bytes == 2 * one
    assert sorted(dict(kept.take(url, [(index, BOX) for index in range(4)]))) == [1, 2]
