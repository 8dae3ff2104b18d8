"""Excerpts: times, boxes, sizes, colours and sound of what is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.media.audio import load_audio
from operators.media.excerpt import write_excerpt
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.errors import MediaError
from tests.pipelines.conftest import make_video


def pictures(url: str) -> list[np.ndarray]:
    return [frame.rgb().astype(int) for frame in read_frames(url, 0, probe_video(url).n_frames)]


def test_an_excerpt_shows_and_sounds_as_the_source_at_that_time(tmp_path: Path) -> None:
    source, target = (
        str(make_video(tmp_path / "s.mp4", frames=60, rate=20, scenes=3)),
        str(tmp_path / "t.mp4"),
    )
    write_excerpt(source, target, 1.0, 1.5)
    shown, whole = pictures(target), pictures(source)
    assert len(shown) == 30
    for ours, theirs in zip(shown, whole[20:50], strict=True):
        assert np.abs(ours - theirs).mean() < 4
    assert np.abs(shown[0] - whole[0]).mean() > 10, "another scene"
    heard = load_audio(target, 16000)
    assert len(heard) / 16000 == pytest.approx(1.5, abs=0.05)
    loud, was = (np.sqrt(np.square(sound).mean()) for sound in (heard, load_audio(source, 16000)))
    assert loud == pytest.approx(was, rel=0.2)


def test_a_box_is_cut_out_and_scaled(tmp_path: Path) -> None:
    source, target = str(make_video(tmp_path / "s.mp4", frames=4, sound=False)), str(tmp_path / "t.mp4")
    write_excerpt(source, target, 0.0, 9.0, (0, 8, 32, 40), 64)
    info = probe_video(target)
    assert (info.width, info.height, info.n_frames) == (64, 64, 4)
    ours, theirs = pictures(target)[0], pictures(source)[0][8:40, :32]
    assert np.abs(ours[::2, ::2] - theirs).mean() < 8


@pytest.mark.parametrize(
    ("start", "box", "message"),
    [(60.0, None, "no picture between 60 and 61 s"), (0.0, (0, 0, 65, 10), "leaves its picture of 64x48")],
)
def test_what_cannot_be_cut_is_an_error_and_leaves_nothing(
    tmp_path: Path, start: float, box: tuple[int, int, int, int] | None, message: str
) -> None:
    source = str(make_video(tmp_path / "s.mp4", frames=4))
    with pytest.raises(MediaError, match=message):
        write_excerpt(source, str(tmp_path / "t.mp4"), start, 1.0, box)
    assert [path.name for path in tmp_path.iterdir()] == ["s.mp4"]


def test_a_file_that_is_no_media_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "s.mp4").write_bytes(b"nothing")
    with pytest.raises(MediaError, match=r"s\.mp4"):
        write_excerpt(str(tmp_path / "s.mp4"), str(tmp_path / "t.mp4"), 0.0, 1.0)
