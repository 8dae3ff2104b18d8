"""Codecs of outputs: what each keeps, which containers hold it, the choice of `auto`, the same bytes every time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from operators.media.assemble import assemble
from operators.media.codec_names import CODECS, HOLDS, Encoding, bits_of, encoding_problem, hardware_needs
from operators.media.encoders import (
    EncoderOptions,
    add_encoder,
    codec_for,
    encoded_format,
    to_encoded,
    unopened_encoder,
)
from operators.media.formats import planes
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from operators.threads import realtime_threads
from tests.operators.media import synth
from tests.operators.media.segments import segments_of
from tests.operators.media.test_properties import HDR, Seen, unexplained

SIZE = (272, 160)
SOFTWARE = [codec for codec in CODECS if codec != "auto" and not hardware_needs(codec)]
#: Least PSNR of luma and chroma that each keeps of the test picture, and whether the result is exact.
LEAST = {"h264": 33, "hevc": 30, "prores": 45, "dnxhr": 38, "av1": 28, "ffv1": 99}
TAGS = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}


def source(tmp_path: Path, kind: str) -> Path:
    """A video of 24 frames: "plain", "ten" bits, "hdr", "prores", "alpha" (ProRes 4444), "dnxhr"."""
    more = {
        "plain": {"attributes": TAGS},
        "ten": {"pix_fmt": "yuv420p10le", "attributes": TAGS},
        "hdr": {
            "pix_fmt": "yuv420p10le",
            "options": {"x264-params": HDR},
            "attributes": {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1},
        },
        "prores": {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "options": {"profile": "2"}},
        "alpha": {"codec": "prores_ks", "pix_fmt": "yuva444p10le", "options": {"profile": "4"}},
        "dnxhr": {"codec": "dnxhd", "pix_fmt": "yuv422p10le", "options": {"profile": "dnxhr_hqx"}},
    }
    path = tmp_path / f"{kind}{'.mov' if kind in ('prores', 'alpha', 'dnxhr') else '.mp4'}"
    synth.write_video(path, 24, SIZE, **more[kind])
    return path


def least_psnr(url: str, info: VideoInfo) -> float:
    """Least PSNR over frames and planes of a file against its source, dB up to 99."""
    least = 99.0
    made = probe_video(url)
    for one, other in zip(
        read_frames(url, 0, made.n_frames, made), read_frames(info.url, 0, info.n_frames, info), strict=True
    ):
        difference = one.rgb().astype(float) - other.rgb()
        if np.any(difference):
            least = min(least, 10 * np.log10(255**2 / np.mean(difference**2)))
    return least


@pytest.mark.parametrize("codec", SOFTWARE)
def test_each_codec_in_each_container_that_holds_it(tmp_path: Path, codec: str) -> None:
    """Segments of 1 and more frames are joined: times, number of frames and colours are those of the source."""
    info = probe_video(str(source(tmp_path, "plain")))
    for container in HOLDS[codec]:
        options = EncoderOptions(codec=codec, container=container, crf=12)
        output = str(tmp_path / f"out.{container}")
        notes = assemble(
            output, segments_of(info, [0, 1, 9, 24], name=f"{codec}-{container}", options=options), info.url
        )
        made = probe_video(output)
        assert (made.pts * made.time_base == info.pts * info.time_base).all(), container
        assert (made.color, made.width, made.height) == (info.color, *SIZE), container
        assert least_psnr(output, info) >= LEAST[codec], container
        assert notes == []


@pytest.mark.parametrize("codec", SOFTWARE)
def test_each_codec_keeps_the_shape_of_pixels_and_looks_the_same_with_full_range(
    tmp_path: Path, codec: str
) -> None:
    path = tmp_path / "full.mp4"
    attributes = {**TAGS, "sample_aspect_ratio": Fraction(16, 11), "color_range": 2}
    synth.write_video(path, 3, SIZE, pix_fmt="yuvj420p", attributes=attributes)
    info = probe_video(str(path))
    for container in HOLDS[codec]:
        options = EncoderOptions(codec=codec, container=container, crf=12)
        output = str(tmp_path / f"out.{container}")
        segments = segments_of(info, [0, 3], name=f"full-{codec}-{container}", options=options)
        notes = assemble(output, segments, info.url)
        made = probe_video(output)
        assert made.sample_aspect_ratio == pytest.approx(16 / 11, rel=0.02), container
        assert made.color.full_range == (codec != "prores"), container
        assert any("full range becomes limited" in note for note in notes) == (codec == "prores"), notes
        assert least_psnr(output, info) >= LEAST[codec] - 1, container


@pytest.mark.parametrize("codec", SOFTWARE)
def test_the_same_frames_give_the_same_bytes_and_one_header(tmp_path: Path, codec: str) -> None:
    info = probe_video(str(source(tmp_path, "ten")))
    options = EncoderOptions(codec=codec, keyint=9)
    made, headers = [], set()
    for name, start, stop in (("a", 0, 24), ("b", 0, 24), ("c", 3, 4)):
        url = str(tmp_path / f"{name}.mp4")
        frames = ((f, f.pts) for f in read_frames(info.url, start, stop, info))
        made.append(encode_segment(url, frames, info, options))
        with av.open(url) as container:
            stream = container.streams.video[0]
            headers.add(bytes(stream.codec_context.extradata or b""))
            keys = [packet.pts for packet in container.demux(stream) if packet.size and packet.is_keyframe]
        intra = codec in ("prores", "dnxhr", "ffv1")
        assert len(keys) == (stop - start if intra else -(-(stop - start) // 9))
    assert made[0] == made[1]
    assert len(headers) == 1


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_groups_are_closed(tmp_path: Path, codec: str) -> None:
    """Pictures from a later key frame on decode without what comes before it."""
    info = probe_video(str(source(tmp_path, "plain")))
    url = str(tmp_path / "segment.mp4")
    frames = ((f, f.pts) for f in read_frames(info.url, 0, 24, info))
    encode_segment(url, frames, info, EncoderOptions(codec=codec, keyint=8))
    with av.open(url) as container:
        whole = {f.pts: f.to_ndarray(format="gray") for f in container.decode(video=0)}
    with av.open(url) as container:
        container.seek(int(info.pts[8]), stream=container.streams.video[0])
        part = {f.pts: f.to_ndarray(format="gray") for f in container.decode(video=0)}
    assert sorted(part) == info.pts[8:].tolist()
    assert all((part[pts] == whole[pts]).all() for pts in part)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("plain", {"mp4": "h264", "mov": "h264", "mkv": "h264"}),
        ("ten", {"mp4": "h264", "mov": "h264", "mkv": "h264"}),
        ("hdr", {"mp4": "hevc", "mov": "hevc", "mkv": "hevc"}),
        ("prores", {"mp4": "h264", "mov": "prores", "mkv": "prores"}),
        ("alpha", {"mp4": "h264", "mov": "prores", "mkv": "prores"}),
        ("dnxhr", {"mp4": "h264", "mov": "dnxhr", "mkv": "prores"}),
    ],
)
def test_auto_is_what_a_viewer_of_the_source_expects(
    tmp_path: Path, kind: str, wanted: dict[str, str]
) -> None:
    """Walk each container: the codec is the expected one, and no property changes without a note."""
    info = probe_video(str(source(tmp_path, kind)))
    for container, codec in wanted.items():
        options = EncoderOptions(codec="auto", container=container)  # type: ignore[arg-type]
        assert codec_for(info, options) == codec
        output = str(tmp_path / f"out-{kind}.{container}")
        segments = segments_of(info, [0, 10, 24], name=f"auto-{kind}-{container}", options=options)
        notes = assemble(output, segments, info.url)
        assert unexplained(Seen.of(info.url), Seen.of(output), notes) == {}, (container, notes)
        if codec != "h264" or kind in ("plain", "ten"):
            assert notes == []


def test_hdr_metadata_reach_hevc_and_apples_players_get_their_tag(tmp_path: Path) -> None:
    info = probe_video(str(source(tmp_path, "hdr")))
    assert info.hdr
    output = str(tmp_path / "out.mp4")
    assemble(output, segments_of(info, [0, 24], name="hvc", options=EncoderOptions(codec="hevc")), info.url)
    made = probe_video(output)
    assert (made.hdr, made.color, made.pix_fmt) == (info.hdr, info.color, "yuv420p10le")
    with av.open(output) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_alpha_and_the_profile_of_prores_are_kept(tmp_path: Path) -> None:
    """Alpha where it varies, and "4444" and "Standard" as the sources have."""
    path = tmp_path / "alpha.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("prores_ks", rate=25, width=SIZE[0], height=SIZE[1])
        stream.pix_fmt, stream.options = "yuva444p10le", {"profile": "4"}
        for i in range(6):
            frame = synth.picture(i, *SIZE, "yuva444p10le")
            planes(frame)[3][:] = np.linspace(0, 1023, SIZE[0]).astype(np.uint16)[None]
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    info = probe_video(str(path))
    output = str(tmp_path / "out.mov")
    options = EncoderOptions(codec="auto", container="mov")
    assert assemble(output, segments_of(info, [0, 6], name="alpha", options=options), info.url) == []
    with av.open(output) as one, av.open(str(path)) as other:
        assert one.streams.video[0].codec_context.profile == "4444"
        for now, was in zip(one.decode(video=0), other.decode(video=0), strict=True):
            assert now.format.name == was.format.name
            difference = planes(now)[3].astype(int) - planes(was)[3]
            assert np.abs(difference).max() <= 16  # of 4095
    standard = probe_video(str(source(tmp_path, "prores")))
    segments_of(standard, [0, 2], name="standard", options=options)
    assemble(output, segments_of(standard, [0, 2], name="standard", options=options), standard.url)
    assert probe_video(output).profile == standard.profile == "Standard"


def test_bitrate_is_held_about(tmp_path: Path) -> None:
    info = probe_video(str(source(tmp_path, "plain")))
    sizes = {}
    for codec in ("h264", "hevc", "av1"):
        for rate in ("100k", "1M"):
            frames = ((f, f.pts) for f in read_frames(info.url, 0, 24, info))
            options = EncoderOptions(codec=codec, bitrate=rate)  # type: ignore[arg-type]
            sizes[codec, rate] = encode_segment(str(tmp_path / "s.mp4"), frames, info, options).bytes
        assert sizes[codec, "1M"] > 2 * sizes[codec, "100k"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"codec": "h265"}, "must be one of auto, h264"),
        ({"codec": "prores", "container": "mp4"}, "does not fit an output in .mp4: name it .mov or .mkv"),
        ({"codec": "dnxhr", "container": "mkv"}, "name it .mov,"),
        ({"codec": "prores", "bitrate": "8M"}, "prores has no choice of one"),
        ({"crf": 52}, "from 0 to 51"),
        ({"codec": "av1", "crf": 64}, "from 0 to 63"),
        ({"bitrate": "fast"}, "such as 8M or 800k"),
        ({"preset": "placebo"}, "must be one of auto"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], words: str) -> None:
    assert words in encoding_problem(**values)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must|fit|choice|crf"):
        Encoding(**values)  # type: ignore[arg-type]


def test_bitrates_are_read() -> None:
    assert [bits_of(text) for text in ("8M", "800k", "1.5M", "64000")] == [
        8_000_000,
        800_000,
        1_500_000,
        64_000,
    ]
    with pytest.raises(ValueError, match="bitrate"):
        bits_of("0")


def test_pictures_that_a_codec_cannot_hold_are_refused_by_name(tmp_path: Path) -> None:
    synth.write_video(tmp_path / "small.mp4", 2, (96, 64))
    info = probe_video(str(tmp_path / "small.mp4"))
    with (
        av.open(str(tmp_path / "out.mov"), "w") as container,
        pytest.raises(ValueError, match=r"small.mp4: DNxHR"),
    ):
        add_encoder(container, info, "dnxhr", EncoderOptions(codec="dnxhr"))
    synth.write_video(tmp_path / "odd.mp4", 2, (97, 65), pix_fmt="yuv444p")
    odd = probe_video(str(tmp_path / "odd.mp4"))
    with (
        av.open(str(tmp_path / "out.mp4"), "w") as container,
        pytest.raises(ValueError, match=r"odd.mp4: AV1"),
    ):
        add_encoder(container, odd, "av1", EncoderOptions(codec="av1"))


@pytest.mark.parametrize("codec", [codec for codec in CODECS if hardware_needs(codec)])
def test_a_hardware_encoder_that_this_build_lacks_is_named(tmp_path: Path, codec: str) -> None:
    if codec in av.codecs_available:
        pytest.skip(f"this FFmpeg has {codec}")
    url = str(source(tmp_path, "plain"))
    with pytest.raises(
        ValueError, match=f"plain.mp4: codec {codec}: this build of FFmpeg has no encoder {codec}"
    ):
        encode_segment(
            str(tmp_path / "s.mov"), iter(()), probe_video(url), EncoderOptions(codec=codec, container="mov")
        )


def test_a_hardware_encoder_without_its_hardware_is_named() -> None:
    assert unopened_encoder("h264") == ""
    if "h264_nvenc" not in av.codecs_available or Path("/dev/nvidia0").exists():
        pytest.skip("this FFmpeg has no h264_nvenc, or this machine a GPU")
    assert "codec h264_nvenc: its encoder cannot be opened on this machine" in unopened_encoder("h264_nvenc")


def test_svt_av1_makes_no_thread_a_realtime_one(tmp_path: Path) -> None:
    info = probe_video(str(source(tmp_path, "plain")))
    before, seen = realtime_threads(), set[int]()

    def frames() -> Iterator[tuple[Frame, int]]:
        for frame in read_frames(info.url, 0, 24, info):
            yield frame, frame.pts
            seen.update(realtime_threads())

    encode_segment(str(tmp_path / "s.mp4"), frames(), info, EncoderOptions(codec="av1"))
    assert (seen | realtime_threads()) <= before, (
        "programs that are started later would be real-time ones too"
    )


def test_svt_av1_does_not_introduce_itself(tmp_path: Path) -> None:
    program = (
        "import operators.media.encoders, av\n"
        f"with av.open({str(tmp_path / 'a.mp4')!r}, 'w') as out:\n"
        "    stream = out.add_stream('libsvtav1', rate=25, width=64, height=64, pix_fmt='yuv420p')\n"
        "    out.mux(stream.encode(av.VideoFrame(64, 64, 'yuv420p')))\n"
        "    out.mux(stream.encode(None))\n"
    )
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root}
    environment.pop("SVT_LOG", None)
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")


@pytest.mark.parametrize(
    ("kind", "codec", "form"),
    [
        ("plain", "h264_nvenc", "yuv420p"),
        ("ten", "h264_videotoolbox", "yuv420p"),
        ("ten", "hevc_videotoolbox", "p010le"),
        ("plain", "prores_videotoolbox", "p210le"),
        ("alpha", "prores_videotoolbox", "ayuv64le"),
    ],
)
def test_hardware_encoders_get_formats_that_pictures_can_be_converted_to(
    tmp_path: Path, kind: str, codec: str, form: str
) -> None:
    info = probe_video(str(source(tmp_path, kind)))
    assert encoded_format(codec, info) == form
    picture = to_encoded(next(iter(read_frames(info.url, 0, 1, info))).picture, form)
    assert (picture.format.name, picture.width) == (form, info.coded_width)
