"""Media files of all kinds, written with PyAV alone (never with the code under test)."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.packet import Packet
from av.subtitles.subtitle import SubtitleSet
from av.video.frame import VideoFrame

from operators.threads import no_realtime

MS = Fraction(1, 1000)


def picture(i: int, width: int, height: int, pix_fmt: str = "yuv420p") -> VideoFrame:
    """A moving, textured picture: a drifting gradient with a bright square and noise that never repeats."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    noise = np.random.default_rng(i).integers(0, 24, (height, width))
    rgb = (
        np.stack([(x * 2 + 5 * i) % 200, (y * 3 + 2 * i) % 220, (x + y + 7 * i) % 180], axis=-1)
        + noise[..., None]
    )
    left, top = (3 * i) % max(1, width - 24), (2 * i) % max(1, height - 20)
    rgb[top : top + 16, left : left + 20] = (230, 60 + i % 90, 40)
    frame = VideoFrame.from_ndarray(np.clip(rgb, 0, 255).astype(np.uint8), format="rgb24")
    return (
        frame
        if pix_fmt == "rgb24"
        else frame.reformat(format=pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG")
    )


def write_video(
    path: Path,
    count: int = 24,
    size: tuple[int, int] = (96, 64),
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    rate: Fraction = Fraction(25),
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    container_format: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    matrix: Sequence[int] | None = None,
    fields: str = "",
) -> list[int]:
    """Write ``count`` frames of `picture` and return their presentation times in ``time_base``."""
    times = list(pts) if pts is not None else [round(i / rate / time_base) for i in range(count)]
    with av.open(str(path), "w", format=container_format, container_options=dict(muxer or {})) as container:
        settings = dict(options or {})
        if codec.startswith("libx264"):
            # Two files of the same pictures must be the same: x264's macroblock tree is not deterministic on
            # every processor.
            settings["x264-params"] = ":".join(filter(None, [settings.get("x264-params"), "mbtree=0"]))
        stream = container.add_stream(
            codec, rate=rate, options=settings, width=size[0], height=size[1], pix_fmt=pix_fmt
        )
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        for name, value in (attributes or {}).items():
            setattr(stream.codec_context, name, value)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if fields:
            stream.codec_context.flags |= 1 << 18  # AV_CODEC_FLAG_INTERLACED_DCT
        with no_realtime():
            stream.codec_context.open()
        for i, time in enumerate(times):
            frame = picture(i, *size, pix_fmt)
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(with_fields(frame, fields) if fields else frame))
        container.mux(stream.encode(None))
    return times


def with_fields(frame: VideoFrame, fields: str) -> VideoFrame:
    """The frame marked as two fields, the "top" or "bottom" one first: a flag that only a filter can set."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    mark, sink = graph.add("setfield", {"top": "tff", "bottom": "bff"}[fields]), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    graph.push(frame)
    marked = graph.pull()
    assert isinstance(marked, VideoFrame)
    return marked


@dataclasses.dataclass
class Track:
    """A stream for `remux`: packets with times in ``time_base``, taken from another file or given as bytes."""

    template: Any
    packets: list[tuple[bytes, int | None, int | None, int, bool]]
    time_base: Fraction


def read_track(path: Path, index: int = 0) -> Track:
    """All packets of a stream: bytes, pts, dts, duration, key."""
    with av.open(str(path)) as container:
        stream = container.streams[index]
        packets = [
            (bytes(p), p.pts, p.dts, p.duration or 0, p.is_keyframe)
            for p in container.demux(stream)
            if p.size
        ]
        return Track(None, packets, stream.time_base or Fraction(1, 1000))


def remux(
    source: Path,
    target: Path,
    packets: Iterable[tuple[bytes, int | None, int | None, int, bool]],
    **options: str,
) -> None:
    """Copy the first stream of a file with other packets or other times."""
    with av.open(str(source)) as container, av.open(str(target), "w", container_options=dict(options)) as out:
        template = container.streams[0]
        stream = out.add_stream_from_template(template, opaque=True)
        for data, pts, dts, duration, key in packets:
            packet: Packet[Any] = Packet(data)
            packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts, dts, duration, key
            packet.time_base, packet.stream = template.time_base, stream
            out.mux(packet)


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG file with an Exif segment that holds the orientation tag."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff + jpeg[2:]


def damage(source: Path, target: Path, packet: int) -> None:
    """Copy a file's video with twelve bytes in the middle of one packet replaced."""
    packets = read_track(source).packets
    data, *rest = packets[packet]
    broken = bytearray(data)
    middle = len(broken) // 2
    broken[middle : middle + 12] = np.random.default_rng(1).bytes(12)
    remux(source, target, [*packets[:packet], (bytes(broken), *rest), *packets[packet + 1 :]])


def tone(
    seconds: float, rate: int = 48000, hertz: float = 440.0, channels: int = 1, level: float = 0.4
) -> np.ndarray:
    """float32[channels, n], a sine."""
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


def write_audio(
    path: Path, samples: np.ndarray, rate: int = 48000, codec: str = "pcm_s16le", layout: str = ""
) -> None:
    """Write float32[channels, n] as one audio file."""
    with av.open(str(path), "w") as container:
        mux_audio(container, samples, rate, codec, layout=layout)


def mux_audio(
    container: Any,
    samples: np.ndarray,
    rate: int,
    codec: str,
    start: int = 0,
    layout: str = "",
    **metadata: str,
) -> None:
    """Add an audio track with samples from time ``start`` (in samples) on and write all of it."""
    layout = layout or ("mono" if len(samples) == 1 else "stereo")
    stream = container.add_stream(codec, rate=rate, layout=layout)
    stream.metadata.update(metadata)
    container.mux(stream.encode(packed(samples, rate, layout, start)))
    container.mux(stream.encode(None))


def write_title(path: Path, samples: np.ndarray, layout: str, codec: str = "pcm_s16le") -> None:
    """Write a video of 25 frames a second, as long as float32[channels, n] at 48 kHz, with that sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=96, height=64, pix_fmt="yuv420p")
        sound = container.add_stream(codec, rate=48000, layout=layout)
        for i in range(round(samples.shape[1] / 48000 * 25)):
            frame = picture(i, 96, 64)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(packed(samples, 48000, layout)))
        container.mux(sound.encode(None))


def packed(samples: np.ndarray, rate: int, layout: str, start: int = 0) -> AudioFrame:
    """A packed frame of float32[channels, n]: PyAV cannot fill planar ones of 8 and more channels."""
    values = np.ascontiguousarray(samples.T, np.float32).reshape(1, -1)
    frame = AudioFrame.from_ndarray(values, format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
    return frame


def decode_plain(path: Path | str) -> list[tuple[int | None, str]]:
    """Times and digests of all frames as a plain PyAV decode of the first video gives them."""
    with av.open(str(path)) as container:
        return [(frame.pts, digest(frame)) for frame in container.decode(video=0)]


def decode_plain_url(url: str, folder: Path) -> list[tuple[int | None, str]]:
    """`decode_plain` of a file that lies elsewhere."""
    fs, path = fsspec.core.url_to_fs(url)
    fs.get_file(path, str(folder / "copy.mp4"))
    return decode_plain(folder / "copy.mp4")


def digest(frame: VideoFrame) -> str:
    """SHA-1 of a picture's samples without their padding."""
    sha = hashlib.sha1()
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        width = plane.width * (2 if frame.format.components[0].bits > 8 else 1)
        sha.update(np.ascontiguousarray(rows[:, :width]).tobytes())
    return sha.hexdigest()


#: Display matrices (16.16 and 2.30 fixed point) that turn the coded picture clockwise by quarter turns.
TURNS = {
    0: (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}
#: The coded picture mirrored left to right.
MIRROR = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


def write_rich(
    path: Path,
    video: Path,
    audios: Sequence[tuple[np.ndarray, str, str]],
    subtitle: str | None = "mov_text",
    late: int = 0,
    rate: int = 48000,
) -> None:
    """A title as it comes: the video of a file, audio tracks (samples at `rate`, codec, language), a subtitle
    track, chapters, metadata.

    Args:
        path: file to write.
        video: file whose first stream is copied.
        audios: tracks.
        subtitle: codec of the subtitle track, in Norwegian; none if None.
    """
    with (
        av.open(str(video)) as source,
        av.open(str(path), "w", container_options={"movie_timescale": "12800"}) as out,
    ):
        template = source.streams.video[0]
        picture = out.add_stream_from_template(template, opaque=True)
        picture.metadata["handler_name"] = "Main camera"
        out.metadata.update({"title": "A title", "comment": "kept"})
        tracks = []
        for samples, codec, language in audios:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
            stream = out.add_stream(codec, rate=rate, layout=layout)
            stream.metadata["language"] = language
            tracks.append((stream, samples))
        text = out.add_stream(subtitle, time_base=Fraction(1, 1000)) if subtitle else None
        if text is not None:
            text.metadata["language"] = "nor"
            text.codec_context.subtitle_header = ASS_HEADER
        out.set_chapters(
            [
                {
                    "id": i,
                    "start": 500 * i,
                    "end": 500 * (i + 1),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": f"Part {i}"},
                }
                for i in range(4)
            ]
        )
        for packet in source.demux(template):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        for stream, samples in tracks:
            frame = AudioFrame.from_ndarray(
                np.ascontiguousarray(samples), format="fltp", layout=stream.layout.name
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        if text is not None:
            for i in range(3):
                line = SubtitleSet.create(
                    text=f"0,0,Default,,0,0,0,,Line {i}".encode(), start=0, end=400, pts=600 * i
                )
                packet = text.codec_context.encode_subtitle(line)
                packet.pts = packet.dts = 600 * i
                packet.duration, packet.time_base, packet.stream = 400, Fraction(1, 1000), text
                out.mux(packet)


ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, "
    b"BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, "
    b"MarginR, MarginV, Encoding\nStyle: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\n\n[Events]\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


def burst(seconds: float, at: float, rate: int = 48000, seed: int = 3) -> np.ndarray:
    """float32[1, n] of silence with a tenth of a second of noise ``at`` seconds: its place can be found to
    the sample.
    """
    samples = np.zeros([1, round(seconds * rate)], np.float32)
    noise = np.random.default_rng(seed).normal(0, 0.2, round(0.1 * rate)).astype(np.float32)
    noise = np.convolve(noise, np.hanning(9) / np.hanning(9).sum(), "same").astype(np.float32)
    samples[0, round(at * rate) : round(at * rate) + len(noise)] = noise
    return samples


def samples_of(path: Path | str, track: int) -> tuple[np.ndarray, Fraction]:
    """float32[n] of the first channel of an audio track, and the time of its first sample."""
    parts, first = [], None
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        for frame in container.decode(stream):
            if first is None:
                first = (frame.pts or 0) * (frame.time_base or Fraction(1, 48000))
            parts.append(frame.to_ndarray()[0])
    return np.concatenate(parts), first or Fraction(0)


def find_burst(path: Path | str, track: int, rate: int = 48000, seed: int = 3) -> int:
    """Sample, counted from the file's time 0, at which the noise of `burst` begins in an audio track."""
    noise = burst(0.1, 0, rate, seed)[0]
    samples, first = samples_of(path, track)
    match = np.correlate(samples, noise, "valid")
    return round(first * rate) + int(np.argmax(match))


def shifted(source: Path, target: Path, seconds: Fraction | Sequence[Fraction], **options: str) -> None:
    """Copy a file with the times of all its streams moved, or those of each by seconds of its own."""
    with av.open(str(source)) as file, av.open(str(target), "w", container_options=dict(options)) as out:
        copies = {
            s.index: out.add_stream_from_template(s, opaque=True) for s in file.streams if s.type != "data"
        }
        for index, copy in copies.items():
            copy.metadata.update(file.streams[index].metadata)
        for packet in file.demux([file.streams[index] for index in copies]):
            if packet.size:
                index = packet.stream_index
                moved = seconds[index] if isinstance(seconds, Sequence) else seconds
                ticks = round(moved / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
                packet.stream = copies[index]
                out.mux(packet)


def audio_packets(path: Path | str, track: int) -> list[tuple[Fraction, bytes]]:
    """Times in seconds and bytes of an audio track's packets."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        return [((p.pts or 0) * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
