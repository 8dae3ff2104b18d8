"""Range decode equals the same slice of a sequential decode; damaged files end with an error that names the
time.
"""

from __future__ import annotations

import gc
import itertools
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile

from operators.media import reader
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.storage.errors import DecodeError
from tests.operators.media import synth
from tests.operators.media.conftest import ZOO

Zoo = Callable[[str], Path]
#: Files whose decoded pictures are used as they are: their frames must equal a plain decode.
NATIVE = sorted(
    set(ZOO)
    - {
        "vp9odd.webm",
        "rgb.mkv",
        "dv411.mkv",
        "nv12.nut",
        "twelve.mkv",
        "animation.gif",
        "still.png",
        "still.jpg",
    }
)


def fingerprints(path: Path | str, start: int, stop: int, info: VideoInfo) -> list[tuple[int, int, bytes]]:
    return [
        (f.index, f.pts, b"".join(p.tobytes() for p in f.samples()))
        for f in read_frames(str(path), start, stop, info)
    ]


def check_ranges(path: Path | str, tries: int) -> VideoInfo:
    """Many random ranges against one decode from end to end."""
    info = probe_video(str(path))
    whole = fingerprints(path, 0, info.n_frames, info)
    assert [(index, pts) for index, pts, _ in whole] == list(enumerate(info.pts.tolist()))
    choose = random.Random(len(whole))
    for _ in range(tries):
        start = choose.randrange(info.n_frames)
        stop = min(info.n_frames, start + choose.randrange(1, 12))
        assert fingerprints(path, start, stop, info) == whole[start:stop], (start, stop)
    return info


@pytest.mark.parametrize("name", sorted(ZOO))
def test_any_range_equals_the_sequential_decode(zoo: Zoo, name: str) -> None:
    check_ranges(zoo(name), 12)


@pytest.mark.parametrize("name", NATIVE)
def test_frames_are_those_of_a_plain_decode(zoo: Zoo, name: str) -> None:
    info = probe_video(str(zoo(name)))
    frames = read_frames(str(zoo(name)), 0, info.n_frames, info)
    assert [synth.digest(frame.picture) for frame in frames] == [
        digest for _, digest in synth.decode_plain(zoo(name))
    ]


def test_package_borne_footage(carphone: Path) -> None:
    info = check_ranges(carphone, 10)
    assert [pts for pts, _ in synth.decode_plain(carphone)] == info.pts.tolist()


def test_ranges_of_the_shared_clips(clips: Path | None, carphone: Path) -> None:
    names = [
        "grid_bbaf2n.mpg",
        "mt_sun.mp4",
        "vr_face1.mp4",
        "tricky/vfr.mp4",
        "tricky/rotated_meta.mp4",
        "tricky/face_absent_1s.mp4",
    ]
    for path in [clips / name for name in names] if clips else [carphone]:
        info = probe_video(str(path))
        whole = [digest for _, digest in synth.decode_plain(path)]
        choose = random.Random(info.n_frames)
        for _ in range(3):
            start = choose.randrange(info.n_frames)
            stop = min(info.n_frames, start + 5)
            assert [synth.digest(f.picture) for f in read_frames(str(path), start, stop, info)] == whole[
                start:stop
            ]


def test_ranges_start_near_and_not_at_the_beginning(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeking works: a late range decodes at most one group of pictures before it, in MP4 and in a transport
    stream.
    """
    decoded: list[int] = []
    real = reader._numbered

    def counting(*args: object) -> object:
        for position, picture in real(*args):  # type: ignore[arg-type]
            decoded.append(position)
            yield position, picture

    monkeypatch.setattr(reader, "_numbered", counting)
    for name, start, group in (
        ("cfr.mp4", 36, 8),
        ("open.mp4", 55, 12),
        ("mpeg2.ts", 55, 12),
        ("mpeg4.avi", 55, 12),
        ("vfr.mkv", 28, 8),
    ):
        decoded.clear()
        info = probe_video(str(zoo(name)))
        assert len(fingerprints(zoo(name), start, start + 2, info)) == 2
        assert min(decoded) >= start - group, name


def test_gradual_refresh_is_decoded_from_where_it_is_exact(zoo: Zoo) -> None:
    """Recovery points that are no intra pictures are marked as keys, but decoding from them is not exact at
    first.
    """
    info = probe_video(str(zoo("refresh.mp4")))
    assert len(info.timeline.keys) > 1
    whole = [digest for _, digest in synth.decode_plain(zoo("refresh.mp4"))]
    for start in info.timeline.keys.tolist():
        frames = read_frames(str(zoo("refresh.mp4")), start, start + 3, info)
        assert [synth.digest(f.picture) for f in frames] == whole[start : start + 3]


def test_damaged_frame_ends_the_range_with_its_time(zoo: Zoo, tmp_path: Path) -> None:
    synth.damage(zoo("prores.mov"), tmp_path / "hit.mov", packet=5)
    info = probe_video(str(tmp_path / "hit.mov"))
    assert len(list(read_frames(str(tmp_path / "hit.mov"), 0, 5, info))) == 5
    with pytest.raises(DecodeError, match=r"hit\.mov: the frame at 0\.200 s"):
        list(read_frames(str(tmp_path / "hit.mov"), 0, 8, info))
    assert len(list(read_frames(str(tmp_path / "hit.mov"), 6, 8, info))) == 2


def test_packet_that_decodes_to_nothing_is_an_error_and_not_a_shorter_video(zoo: Zoo, tmp_path: Path) -> None:
    packets = synth.read_track(zoo("cfr.mp4")).packets
    data, *rest = packets[21]
    synth.remux(
        zoo("cfr.mp4"),
        tmp_path / "hole.mp4",
        [*packets[:21], (b"\0\0\0\1\x0c" + data[5:6], *rest), *packets[22:]],
    )
    info = probe_video(str(tmp_path / "hole.mp4"))
    assert info.n_frames == 40
    with pytest.raises(DecodeError, match=r"hole\.mp4: .*\d+\.\d{3} s"):
        list(read_frames(str(tmp_path / "hole.mp4"), 16, 24, info))
    assert len(list(read_frames(str(tmp_path / "hole.mp4"), 24, 40, info))) == 16


def test_file_replaced_after_the_probe_is_noticed(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    shutil.copy(zoo("cfr.mp4"), path)
    info = probe_video(str(path))
    shutil.copy(zoo("vfr.mp4"), path)
    with pytest.raises(DecodeError, match=r"should follow|ends before"):
        list(read_frames(str(path), 0, 40, info))


def test_change_of_size_is_refused_with_its_time(tmp_path: Path) -> None:
    synth.write_video(tmp_path / "a.m2v", 10, (96, 64), codec="mpeg2video", time_base=synth.Fraction(1, 25))
    synth.write_video(tmp_path / "b.m2v", 10, (112, 64), codec="mpeg2video", time_base=synth.Fraction(1, 25))
    (tmp_path / "ab.m2v").write_bytes((tmp_path / "a.m2v").read_bytes() + (tmp_path / "b.m2v").read_bytes())
    info = probe_video(str(tmp_path / "ab.m2v"))
    with pytest.raises(DecodeError, match=r"picture size changes to 112x64 at \d"):
        list(read_frames(str(tmp_path / "ab.m2v"), 0, info.n_frames, info))


def test_range_outside_the_video_is_a_mistake(zoo: Zoo) -> None:
    for start, stop in ((-1, 2), (3, 2), (0, 41)):
        with pytest.raises(ValueError, match="not inside"):
            list(read_frames(str(zoo("cfr.mp4")), start, stop))
    assert list(read_frames(str(zoo("cfr.mp4")), 40, 40)) == []


def test_remote_files_are_read_by_seeking(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with fsspec.open("memory://reader/a.mp4", "wb") as file:
        file.write(zoo("cfr.mp4").read_bytes())
    closed = []

    def close(file: MemoryFile) -> None:
        closed.append(file)

    monkeypatch.setattr(MemoryFile, "close", close)
    info = probe_video("memory://reader/a.mp4")
    remote = [p for *_, p in fingerprints("memory://reader/a.mp4", 30, 34, info)]
    assert remote == [p for *_, p in fingerprints(zoo("cfr.mp4"), 30, 34, probe_video(str(zoo("cfr.mp4"))))]
    assert closed


def test_frames_are_streamed(zoo: Zoo) -> None:
    """No more than a few frames of a range exist at a time."""
    alive = 0
    for frame in itertools.islice(read_frames(str(zoo("open.mp4")), 0, 60), 5, None, 10):
        del frame
        gc.collect()
        alive = max(alive, sum(type(o).__name__ == "VideoFrame" for o in gc.get_objects()))
    assert alive <= 20


def test_kept_frames_do_not_change_when_decoding_goes_on(zoo: Zoo) -> None:
    info = probe_video(str(zoo("open.mp4")))
    frames, before = [], []
    for frame in read_frames(str(zoo("open.mp4")), 0, 60, info):
        frames.append(frame)
        before.append(np.array(frame.luma()))
    assert all((frame.luma() == luma).all() for frame, luma in zip(frames, before, strict=True))
