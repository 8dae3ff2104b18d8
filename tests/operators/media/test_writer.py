"""Encoded segments: exact times, closed groups of pictures, one header for a title, the same bytes every
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from tests.operators.media import synth
from tests.operators.media.conftest import VFR, ZOO

Zoo = Callable[[str], Path]


def own_times(info: VideoInfo, start: int, stop: int) -> Iterator[tuple[Frame, int]]:
    """Frames of a video with their own times."""
    return ((frame, frame.pts) for frame in read_frames(info.url, start, stop, info))


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_are_kept_exactly(zoo: Zoo, tmp_path: Path, suffix: str) -> None:
    """Variable rate, a late start, and each cut of the title into segments of 1 to 15 frames."""
    info = probe_video(str(zoo("vfr.mp4")))
    ends = [*VFR, VFR[-1] + info.last_duration]
    for start, stop in ((0, 15), (15, 16), (16, 18), (18, 21), (21, 30)):
        url = str(tmp_path / f"{start}{suffix}")
        segment = encode_segment(url, own_times(info, start, stop), info)
        assert segment.frames == stop - start
        with av.open(url) as container:
            stream = container.streams.video[0]
            assert stream.time_base == info.time_base
            packets = [packet for packet in container.demux(stream) if packet.size]
            assert sorted(packet.pts or 0 for packet in packets) == VFR[start:stop]
            assert (np.diff([packet.dts or 0 for packet in packets]) > 0).all()
            assert (stream.start_time or 0) + (stream.duration or 0) == ends[stop]
        assert probe_video(url).pts.tolist() == VFR[start:stop]


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_kind_of_video_is_kept_in_kind(zoo: Zoo, tmp_path: Path, name: str) -> None:
    info = probe_video(str(zoo(name)))
    stop = min(6, info.n_frames)
    url = str(tmp_path / "segment.mp4")
    encode_segment(url, own_times(info, 0, stop), info)
    segment = probe_video(url)
    assert (segment.pts * segment.time_base == info.pts[:stop] * info.time_base).all()
    assert (segment.width, segment.height, segment.rotation, segment.mirrored) == (
        info.width,
        info.height,
        info.rotation,
        info.mirrored,
    )
    assert (segment.color, segment.sample_aspect_ratio, segment.fields) == (
        info.color,
        info.sample_aspect_ratio,
        info.fields,
    )
    # H.264 decoders give monochrome pictures as 4:2:0.
    assert segment.pix_fmt == {"gray": "yuv420p", "gray10le": "yuv420p10le"}.get(
        info.layout.format.name, info.layout.format.name
    )
    for frame, source in zip(
        read_frames(url, 0, stop, segment), read_frames(str(zoo(name)), 0, stop, info), strict=True
    ):
        difference = frame.luma().astype(float) - source.luma()
        assert 10 * np.log10(255**2 / np.mean(difference**2)) > 38


@pytest.mark.parametrize("fields", ["top", "bottom"])
def test_field_order_is_kept(tmp_path: Path, fields: str) -> None:
    synth.write_video(tmp_path / "a.mp4", 6, fields=fields)
    info = probe_video(str(tmp_path / "a.mp4"))
    encode_segment(str(tmp_path / "b.mp4"), own_times(info, 0, 6), info)
    assert (info.fields, probe_video(str(tmp_path / "b.mp4")).fields) == (fields, fields)


def test_tags_for_wide_gamut_and_hdr_are_kept(tmp_path: Path) -> None:
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    params = f"log-level=none:master-display={master}:max-cll=1000,400:hdr10=1:repeat-headers=1"
    attributes = {
        "colorspace": 9,
        "color_primaries": 9,
        "color_trc": 16,
        "sample_aspect_ratio": Fraction(4, 3),
    }
    path = tmp_path / "hdr.mp4"
    synth.write_video(
        path,
        4,
        (128, 96),
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={"x265-params": params},
        attributes=attributes,
    )
    info = probe_video(str(path))
    encode_segment(str(tmp_path / "s.mp4"), own_times(info, 0, 4), info)
    segment = probe_video(str(tmp_path / "s.mp4"))
    assert (segment.color.matrix, segment.color.primaries, segment.color.transfer) == (9, 9, 16)
    assert (segment.hdr, segment.sample_aspect_ratio) == (info.hdr, Fraction(4, 3))
    assert info.hdr


def test_segments_share_their_headers_and_start_with_a_closed_group(zoo: Zoo, tmp_path: Path) -> None:
    """Segments of one frame and of many, dark and bright: the same SPS and PPS; each key frame is an IDR
    picture.
    """
    info = probe_video(str(zoo("cfr.mp4")))
    headers = set()
    for start, stop in ((0, 1), (1, 3), (3, 40)):
        encode_segment(str(tmp_path / "s.mp4"), own_times(info, start, stop), info, EncoderOptions(keyint=9))
        with av.open(str(tmp_path / "s.mp4")) as container:
            stream = container.streams.video[0]
            headers.add(stream.codec_context.extradata)
            keys = [packet for packet in container.demux(stream) if packet.size and packet.is_keyframe]
        assert len(keys) == -(-(stop - start) // 9)
        assert all(5 in nal_types(bytes(key)) for key in keys)
    assert len(headers) == 1


def nal_types(data: bytes) -> list[int]:
    """Types of the NAL units of an AVC sample with lengths of four bytes."""
    types, position = [], 0
    while position < len(data):
        types.append(data[position + 4] & 31)
        position += 4 + int.from_bytes(data[position : position + 4], "big")
    return types


@pytest.mark.parametrize("preset", ["auto", "superfast", "veryfast", "medium"])
def test_bytes_do_not_depend_on_what_memory_held(tmp_path: Path, preset: str) -> None:
    """x264's macroblock tree reads unwritten memory on some machines: with other garbage on the heap it made
    other bytes.
    """
    synth.write_video(tmp_path / "a.mp4", 24, (304, 176))
    info = probe_video(str(tmp_path / "a.mp4"))
    digests = set()
    for seed in range(4):
        garbage = [
            np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
            for size in (3 << 20, 1 << 20, 1 << 18, 1 << 16) * 3
        ]
        del garbage
        options = EncoderOptions(preset=preset)  # type: ignore[arg-type]
        digests.add(encode_segment(str(tmp_path / f"{seed}.mp4"), own_times(info, 0, 24), info, options))
    assert len(digests) == 1


def test_receipt_describes_the_file_and_any_url_works(zoo: Zoo) -> None:
    import hashlib

    info = probe_video(str(zoo("cfr.mp4")))
    receipt = encode_segment("memory://writer/s.mp4", own_times(info, 0, 3), info)
    with fsspec.open("memory://writer/s.mp4", "rb") as file:
        data = file.read()
    assert (receipt.frames, receipt.bytes, receipt.sha256) == (3, len(data), hashlib.sha256(data).hexdigest())


def test_quality_follows_the_options(zoo: Zoo, tmp_path: Path) -> None:
    info = probe_video(str(zoo("cfr.mp4")))
    sizes = [
        encode_segment(str(tmp_path / "s.mp4"), own_times(info, 0, 20), info, EncoderOptions(crf=crf)).bytes
        for crf in (12, 17, 30)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_lossless_option_is_bit_exact(zoo: Zoo, tmp_path: Path) -> None:
    """The encoder encodes exactly the given samples: with crf 0 every sample comes back, pasted ones
    included.
    """
    for name in ("cfr.mp4", "full422.mp4", "odd444.mp4", "vp9odd.webm", "turn90.mp4", "interlaced.mp4"):
        info = probe_video(str(zoo(name)))
        given = []

        def pasted(info: VideoInfo = info, given: list[bytes] = given) -> Iterator[tuple[Frame, int]]:
            for frame, pts in own_times(info, 0, 5):
                frame.paste(
                    (3, 3, 33, 23), np.full((20, 30, 3), 90, np.uint8), np.full((20, 30), 0.6, np.float32)
                )
                given.append(b"".join(plane.tobytes() for plane in frame.samples()))
                yield frame, pts

        encode_segment(str(tmp_path / "s.mp4"), pasted(), info, EncoderOptions(crf=0))
        coded = [
            b"".join(p.tobytes() for p in frame.samples())
            for frame in read_frames(str(tmp_path / "s.mp4"), 0, 5)
        ]
        assert coded == given, name


def test_one_frame_can_be_held(zoo: Zoo, tmp_path: Path) -> None:
    info = probe_video(str(zoo("still.png")))
    frame = next(read_frames(info.url, 0, 1))
    encode_segment(str(tmp_path / "s.mp4"), ((frame, i) for i in range(50)), info)
    held = probe_video(str(tmp_path / "s.mp4"))
    assert held.pts.tolist() == list(range(50))
    assert (held.time_base, held.duration) == (Fraction(1, 25), 2)


def test_failures_leave_no_file(zoo: Zoo, tmp_path: Path) -> None:
    info, other = probe_video(str(zoo("cfr.mp4"))), probe_video(str(zoo("ten.mp4")))
    url = str(tmp_path / "out" / "s.mp4")

    def breaking() -> Iterator[tuple[Frame, int]]:
        yield from own_times(info, 0, 12)
        raise OSError("source went away")

    frames = list(read_frames(info.url, 0, 3))
    with pytest.raises(OSError, match="went away"):
        encode_segment(url, breaking(), info)
    with pytest.raises(ValueError, match="ascend, 5 follows 5"):
        encode_segment(url, [(frames[0], 5), (frames[1], 5)], info)
    with pytest.raises(ValueError, match="no frames"):
        encode_segment(url, [], info)
    with pytest.raises(ValueError, match="frame 0 at pts 0 is not of"):
        encode_segment(url, [(frames[0], 0)], other)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ValueError, match=r"must end in \.mp4 or \.mov"):
        encode_segment(str(tmp_path / "s.mkv"), [(frames[0], 0)], info)


def test_options_are_checked() -> None:
    for options, words in (
        ({"crf": 60}, "crf 60"),
        ({"preset": "warp"}, "one of auto"),
        ({"keyint": 0}, "keyint 0"),
    ):
        with pytest.raises(ValueError, match=words):
            EncoderOptions(**options)
