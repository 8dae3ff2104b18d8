"""RGB by decord: the pixels are PyAV's, and PyAV reads what decord cannot be trusted with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.media import rgb_reader
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.rgb_reader import read_rgb, suits, swscale_rgb

SUITED = ("cfr.mp4", "open.mp4", "av1.mp4", "fragmented.mp4", "refresh.mp4")
UNSUITED = (
    "vfr.mp4",
    "vfr.mkv",
    "mpeg1.mpg",
    "open.ts",
    "ten.mp4",
    "full422.mp4",
    "interlaced.mp4",
    "rgb.mkv",
)


def pictures(
    path: Path, start: int, stop: int, reader: rgb_reader.RgbReader
) -> tuple[list[int], list[np.ndarray]]:
    pairs = list(read_rgb(str(path), start, stop, reader))
    return [index for index, _ in pairs], [picture for _, picture in pairs]


def decoded_by_decord(path: Path, start: int, stop: int) -> int:
    """Number of the range's frames that decord itself gives."""
    return sum(1 for _ in rgb_reader._decord(probe_video(str(path)), start, stop))


@pytest.mark.parametrize("name", SUITED)
def test_decords_pixels_are_pyavs(zoo: Callable[[str], Path], name: str) -> None:
    """Ranges anywhere, single frames, the whole: exactly FFmpeg's conversion of the same frames."""
    path = zoo(name)
    info = probe_video(str(path))
    assert suits(info)
    last = info.n_frames
    for start, stop in [(0, last), (9, 9), *((at, min(at + 3, last)) for at in range(0, last, 2))]:
        numbers, found = pictures(path, start, stop, "decord")
        expected = [swscale_rgb(frame) for frame in read_frames(str(path), start, stop, info)]
        assert numbers == list(range(start, stop))
        for picture, other in zip(found, expected, strict=True):
            assert np.array_equal(picture, other)


def test_decord_itself_reads_a_suitable_file(zoo: Callable[[str], Path]) -> None:
    pytest.importorskip("decord", reason="decord exists for x86-64 only")
    assert decoded_by_decord(zoo("cfr.mp4"), 5, 17) == 12


@pytest.mark.parametrize("name", ["refresh.mp4", "open.mp4"])
def test_decord_is_not_asked_where_it_would_start_at_a_wrong_frame(
    zoo: Callable[[str], Path], name: str
) -> None:
    assert decoded_by_decord(zoo(name), 5, 17) == 0


@pytest.mark.parametrize("name", UNSUITED)
def test_other_files_are_read_by_pyav(zoo: Callable[[str], Path], name: str) -> None:
    path = zoo(name)
    assert not suits(probe_video(str(path)))
    for picture, other in zip(
        pictures(path, 2, 6, "decord")[1], pictures(path, 2, 6, "pyav")[1], strict=True
    ):
        assert np.array_equal(picture, other)


def test_pyavs_pictures_are_those_of_the_frames(zoo: Callable[[str], Path]) -> None:
    path = zoo("cfr.mp4")
    found = pictures(path, 4, 9, "pyav")[1]
    frames = list(read_frames(str(path), 4, 9))
    assert all(np.array_equal(picture, frame.rgb()) for picture, frame in zip(found, frames, strict=True))


@pytest.mark.parametrize("name", ["cfr.mp4", "open.mp4"])
def test_the_two_conversions_differ_by_little(zoo: Callable[[str], Path], name: str) -> None:
    ours, theirs = (
        np.stack(pictures(zoo(name), 0, 12, reader)[1]).astype(int) for reader in ("pyav", "decord")
    )
    assert 0 < np.abs(ours - theirs).max() <= 3


def test_pyav_goes_on_where_decord_stops(zoo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Same pixels without decord, and with a decord that fails on the way."""
    path = zoo("cfr.mp4")
    expected = pictures(path, 3, 12, "decord")
    real = rgb_reader._decord
    for given in (0, 4):
        monkeypatch.setattr(
            rgb_reader,
            "_decord",
            lambda info, start, stop, given=given: (p for p, _ in zip(real(info, start, stop), range(given))),
        )
        numbers, found = pictures(path, 3, 12, "decord")
        assert numbers == expected[0]
        assert all(np.array_equal(a, b) for a, b in zip(found, expected[1], strict=True))


def test_a_range_outside_the_video_is_refused(zoo: Callable[[str], Path]) -> None:
    for reader in ("pyav", "decord"):
        with pytest.raises(ValueError, match="not inside the video"):
            list(read_rgb(str(zoo("cfr.mp4")), 30, 99, reader))
