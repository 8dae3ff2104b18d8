"""Frames that ranges leave to be dubbed, by their own times; fades at the ends."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from operators.media.probe import VideoInfo, probe_video
from pipelines.manifest.titles import Dub
from pipelines.planning.stretches import RangeError, dubbed_frames, fade, range_notes, spoken_seconds
from tests.pipelines.conftest import make_video

DUB = Dub("dub", "s.wav", "o.mp4")


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    """24 frames of 1/12 s, the second half 5 ms late."""
    times = [100 * k + (6 if k >= 12 else 0) for k in range(24)]
    return probe_video(str(make_video(tmp_path_factory.mktemp("v") / "v.mp4", times=times, sound=False)))


def frames(
    info: VideoInfo, ranges: tuple[tuple[str, str], ...], exclude: tuple[tuple[str, str], ...] = ()
) -> list[int]:
    inside = dubbed_frames(dataclasses.replace(DUB, ranges=ranges, exclude=exclude), "v.mp4", info)
    assert inside is not None
    return [int(k) for k in np.flatnonzero(inside)]


def test_all_without_ranges(info: VideoInfo) -> None:
    assert dubbed_frames(DUB, "v.mp4", info) is None


def test_seconds_follow_the_frames_own_times(info: VideoInfo) -> None:
    assert frames(info, (("0.5", "1"),)) == list(range(6, 12))
    assert frames(info, (("1.0", "1.1"),)) == [12, 13]  # frame 12 begins at 1.005 s, 13 at 1.088 s
    assert frames(info, (("", "0.1"), ("1.9", ""))) == [0, 1, 23]


def test_frames_and_time_codes_count_frames(info: VideoInfo) -> None:
    assert frames(info, (("3f", "5f"),)) == [3, 4]
    assert frames(info, (("00:00:01:01", "00:00:01:03"),)) == [13, 14]


def test_excluded_frames_are_taken_out(info: VideoInfo) -> None:
    assert frames(info, (), (("2f", "22f"),)) == [0, 1, 22, 23]
    assert frames(info, (("0f", "6f"),), (("2f", "4f"),)) == [0, 1, 4, 5]


@pytest.mark.parametrize(
    ("ranges", "exclude", "told"),
    [
        ((("9", "10"),), (), "ranges: 9-10 begins behind the end of the video, which has 2.005 s, 24 frames"),
        ((("1.95", ""),), (), "ranges: 1.95- shows no frame: the last one of the video begins at 1.92"),
        (
            (("00:00:01:12", "2"),),
            (),
            r"ranges: 00:00:01:12-2: 00:00:01:12 counts 12 frames, and the video has 12 in a second \(11.9701 fps\)",
        ),
        ((), (("", "00:00:00:25"),), "exclude: -00:00:00:25: 00:00:00:25 counts 25 frames"),
        ((("5f", "0.1"),), (), "ends before it starts"),
        ((), (("0", ""),), "leave no frame"),
        ((), (("30f", ""),), "exclude: 30f- begins behind"),
    ],
)
def test_errors_name_the_video(
    info: VideoInfo, ranges: tuple[tuple[str, str], ...], exclude: tuple[tuple[str, str], ...], told: str
) -> None:
    with pytest.raises(RangeError, match=f"^v.mp4: .*{told}"):
        frames(info, ranges, exclude)


def test_time_codes_of_a_variable_rate_are_times(tmp_path: Path) -> None:
    """25 fps in which every fourth frame is left out: frame 9 is shown at 0.48 s, where the twelfth would be."""
    counts = [k for k in range(32) if k % 4 != 3]
    video = make_video(tmp_path / "v.mkv", rate=25, times=[100 * k for k in counts], sound=False)
    info = probe_video(str(video))
    shown = [k for k, count in enumerate(counts) if 12 <= count < 25]
    assert shown[0] == 9
    assert frames(info, (("00:00:00:12", "00:00:01:00"),)) == shown
    assert frames(info, (("12f", "15f"),)) == [12, 13, 14]
    asked = dataclasses.replace(DUB, ranges=(("00:00:00:12", ""),))
    assert range_notes(asked, info) == [
        "the frame rate of the video varies: time codes in ranges are counted at 25 fps, whatever frames are there"
    ]
    assert range_notes(dataclasses.replace(DUB, ranges=(("0.5", "20f"),)), info) == []
    with pytest.raises(RangeError, match=r"counts 25 frames, and the video has 25 in a second \(25 fps\)"):
        frames(info, (("00:00:00:25", ""),))


def test_a_start_time_code_is_not_added(info: VideoInfo) -> None:
    for first in ("01:00:00:00", "01:00:00"):
        with pytest.raises(
            RangeError, match=r"begins behind .* a start time code that the file carries is not added"
        ):
            frames(info, ((first, ""),))


def test_an_end_behind_the_video_is_a_note(info: VideoInfo) -> None:
    asked = dataclasses.replace(DUB, ranges=(("0", "2.1"), ("1", "9")), exclude=(("5f", "90f"),))
    assert range_notes(asked, info) == [
        "ranges: 1-9 ends behind the end of the video, which has 2.005 s, 24 frames",
        "exclude: 5f-90f ends behind the end of the video, which has 2.005 s, 24 frames",
    ]


def test_seconds_of_the_speech(info: VideoInfo) -> None:
    inside = np.zeros(24, bool)
    inside[6:12] = inside[23:] = True
    (a, b), (c, d) = spoken_seconds(inside, info)
    assert (a, b, c, d) == pytest.approx((0.5, 1.005, 1.0 + 11 / 12 + 0.005, float(info.duration)), abs=1e-3)


def test_fades_begin_and_end_inside_the_range() -> None:
    asked = np.array([False, True, True, True, True, True, False, True])
    gate = fade(asked, np.arange(8) * 0.04, 0.12)
    assert gate[~asked].max() == 0
    assert gate[3] == 1
    assert 0 < gate[1] < gate[2] < 1
    assert gate[5] == pytest.approx(gate[1])
    assert 0 < gate[7] < 1
    assert (fade(np.ones(3, bool), np.arange(3.0), 0.12) == 1).all()
    assert Fraction(0) == fade(np.zeros(3, bool), np.arange(3.0), 0.12).sum()
