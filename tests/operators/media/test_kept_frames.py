"""Parts of frames that are handed from one stage to another: the same pixels, for whoever asked, within bounds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.media.kept_frames import WHOLE, KeptFrames, room_for_whole
from operators.media.probe import probe_video
from operators.media.reader import read_frames

Zoo = Callable[[str], Path]
BOX = (9, 5, 40, 31)


class Asker:
    """Something that wants a part."""


def wanted(landmarks: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = (int(v) for v in landmarks[0])
    return x, y, min(x + 35, size[0]), min(y + 30, size[1])


def offered(kept: KeptFrames, url: str) -> None:
    reading = kept.begin(url, 4)
    points = np.full((68, 2), 7.0)
    points[0] = BOX[0] - 2, BOX[1] - 1
    for frame in read_frames(url, 0, 4):
        reading.offer(frame, points if frame.index else np.full((68, 2), np.nan))


@pytest.mark.parametrize(
    "name", ["cfr.mp4", "ten.mp4", "odd444.mp4", "gray.mkv", "turn90.mp4", "full422.mp4"]
)
def test_kept_parts_are_the_frames_pixels(zoo: Zoo, name: str) -> None:
    url, kept, asker = str(zoo(name)), KeptFrames(whole=0), Asker()
    kept.ask(asker, wanted)
    offered(kept, url)
    found = dict(kept.take(url, [(index, BOX) for index in range(6)]))
    assert sorted(found) == [1, 2, 3]  # frame 0 showed no face, 4 and 5 were not read
    for frame in read_frames(url, 1, 4):
        seen = frame.picture_420(BOX)
        np.testing.assert_array_equal(found[frame.index].luma, seen.luma)
        np.testing.assert_array_equal(found[frame.index].chroma, seen.chroma)


def test_only_what_was_asked_for_is_kept(zoo: Zoo) -> None:
    url, kept = str(zoo("cfr.mp4")), KeptFrames(whole=0)
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
    kept, asker = KeptFrames(2 * one, 0), Asker()
    kept.ask(asker, wanted)
    offered(kept, url)
    assert kept.bytes == 2 * one
    assert sorted(dict(kept.take(url, [(index, BOX) for index in range(4)]))) == [1, 2]


def test_short_segments_are_kept_whole(zoo: Zoo) -> None:
    url = str(zoo("cfr.mp4"))
    frame = next(read_frames(url, 1, 2))
    one = sum(plane.nbytes for plane in frame.samples())
    kept, asker = KeptFrames(whole=4 * one), Asker()
    assert kept.frames(url, [0]) is None
    kept.ask(asker, wanted)
    offered(kept, url)
    assert kept.bytes == 4 * one
    x1, y1, x2, y2 = BOX
    more = (x1 - 3, y1, x2, y2)
    assert sorted(dict(kept.take(url, [(index, more) for index in range(6)]))) == [0, 1, 2, 3]
    assert kept.frames(url, [3, 4]) is None, "frame 4 was not read"
    assert kept.frames(str(zoo("ten.mp4")), [1]) is None
    made = kept.frames(url, [2, 2, 0])
    assert made is not None
    first, second, last = made
    assert [first.index, second.index, last.index] == [2, 2, 0]
    before = second.rgb()
    first.paste((0, 0, 8, 8), np.full((8, 8, 3), 200, np.uint8), np.ones((8, 8), np.float32))
    np.testing.assert_array_equal(second.rgb(), before)
    again = kept.frames(url, [2])
    assert again is not None
    np.testing.assert_array_equal(next(again).rgb(), before)
    del asker
    gc.collect()
    assert kept.bytes == 0
    assert kept.frames(url, [2]) is None


def test_a_segment_that_is_a_frame_too_long_is_kept_in_parts(zoo: Zoo) -> None:
    url = str(zoo("cfr.mp4"))
    one = sum(plane.nbytes for plane in next(read_frames(url, 1, 2)).samples())
    kept, asker = KeptFrames(whole=4 * one - 1), Asker()
    kept.ask(asker, wanted)
    offered(kept, url)
    assert 0 < kept.bytes < one
    assert kept.frames(url, [1]) is None


def test_what_is_offered_late_is_not_taken_for_another_videos(zoo: Zoo) -> None:
    one, two = str(zoo("cfr.mp4")), str(zoo("odd444.mp4"))
    kept, asker = KeptFrames(), Asker()
    kept.ask(asker, wanted)
    first, second = kept.begin(one, 4), kept.begin(two, 4)
    first.offer(next(read_frames(one, 0, 1)), None)
    assert kept.bytes == 0
    assert kept.frames(two, [0]) is None
    own = next(read_frames(two, 0, 1))
    second.offer(own, None)
    made = kept.frames(two, [0])
    assert made is not None
    np.testing.assert_array_equal(next(made).rgb(), own.rgb())
    assert kept.frames(one, [0]) is None


def test_the_machine_bounds_what_is_kept() -> None:
    assert 0 < room_for_whole() <= WHOLE
