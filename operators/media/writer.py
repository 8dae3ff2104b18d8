"""Encode a segment: a closed-GOP H.264 file that can be concatenated with its neighbours by packets."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import av
import av.error
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from operators.media.container import describe
from operators.media.errors import MediaError
from operators.media.frames import Frame
from operators.media.probe import VideoInfo
from operators.media.storage import atomic_write

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]


@dataclasses.dataclass(frozen=True)
class EncoderOptions:
    """How segments are encoded. All segments of a title must be encoded with the same options.

    The default preset costs 8 ms of CPU for a 720p frame where ``veryfast`` costs 13, for a fifth more bytes at the same PSNR (measured on
    talking heads, 2 cores; `benchmarks/media.py` measures it again).

    Attributes:
        crf: x264's constant rate factor, 0 (lossless with 8 bits) to 51; about 18 looks like the source.
        preset: x264's speed preset.
        keyint: most frames from one key frame to the next.
    """

    crf: float = 17.0
    preset: Preset = "superfast"
    keyint: int = 250

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf {self.crf} must be from 0 to 51")
        if self.preset not in get_args(Preset):
            raise ValueError(f"preset {self.preset!r} must be one of {', '.join(get_args(Preset))}")
        if self.keyint < 1:
            raise ValueError(f"keyint {self.keyint} must be at least 1")


@dataclasses.dataclass(frozen=True)
class EncodedSegment:
    """What was written: number of frames, size of the file in bytes, and its SHA-256 in hexadecimal."""

    frames: int
    bytes: int
    sha256: str


def encode_segment(
    url: str, frames: Iterable[tuple[Frame, int]], info: VideoInfo, options: EncoderOptions = EncoderOptions()
) -> EncodedSegment:
    """Encode frames into one file (MP4 or MOV by the suffix of ``url``), whole or not at all.

    The stream has the source's coded size and orientation, pixel format (see `operators.media.formats`), colour tags and sample aspect
    ratio. One thread encodes, so that the bytes do not depend on the machine; headers do not depend on the content, so that segments of one
    title share them.

    Args:
        url: fsspec URL of the file to write.
        frames: frames of the video described by ``info`` with their presentation times in ``info.time_base``, strictly ascending. Each
            frame is encoded before the one after the next is asked for.
        info: the source video.
        options: see `EncoderOptions`.

    Raises:
        ValueError: there is no frame, times do not ascend, or a frame is of another kind than the video.
        MediaError: the encoder fails.
    """
    with atomic_write(url) as path:
        try:
            count = _encode(path, frames, info, options)
        except av.error.FFmpegError as error:
            raise MediaError(f"{url}: cannot be encoded ({describe(error)})") from error
        data = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EncodedSegment(count, data, digest)


def mp4_options(time_base_denominator: int) -> dict[str, str]:
    """Muxer options with which an MP4 or MOV file keeps times in this unit exactly, edit lists included, and holds no version or date."""
    return {
        "movie_timescale": str(time_base_denominator),
        "video_track_timescale": str(time_base_denominator),
        "fflags": "+bitexact",
    }


def _encode(path: Path, frames: Iterable[tuple[Frame, int]], info: VideoInfo, options: EncoderOptions) -> int:
    durations: dict[int, int] = {}
    count = 0
    with av.open(f"file:{path}", "w", container_options=mp4_options(info.time_base.denominator)) as container:
        stream = _add_stream(container, info, options)
        for frame, pts, following in _with_next(frames):
            if frame.layout != info.layout:
                raise ValueError(
                    f"frame {frame.index} at pts {pts} is not of the video {info.url}: {frame.layout} instead of {info.layout}"
                )
            if following is not None and following <= pts:
                raise ValueError(f"{path.name}: presentation times must ascend, {following} follows {pts}")
            durations[pts] = (following if following is not None else pts + natural_duration(info, frame.index)) - pts
            picture = frame.picture
            picture.pts, picture.time_base, picture.pict_type = pts, info.time_base, PictureType.NONE
            _mux(container, stream, stream.encode(picture), durations)
            count += 1
        if not count:
            raise ValueError(f"{path.name}: no frames to encode")
        _mux(container, stream, stream.encode(None), durations)
    return count


def natural_duration(info: VideoInfo, index: int) -> int:
    """Duration of a frame in its video, in ``info.time_base``."""
    return int(info.pts[index + 1] - info.pts[index]) if index + 1 < info.n_frames else info.last_duration


def _mux(container: OutputContainer, stream: VideoStream, packets: list[Any], durations: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = durations.pop(packet.pts)
        container.mux(packet)


def _with_next(frames: Iterable[tuple[Frame, int]]) -> Iterator[tuple[Frame, int, int | None]]:
    """Each frame with its time and the next one's."""
    held: tuple[Frame, int] | None = None
    for frame, pts in frames:
        if held is not None:
            yield (*held, int(pts))
        held = frame, int(pts)
    if held is not None:
        yield (*held, None)


def _add_stream(container: OutputContainer, info: VideoInfo, options: EncoderOptions) -> VideoStream:
    layout = info.layout
    # Macroblock tree is off: with B-frames its AVX-512 code reads memory that nothing has written, and the bytes differ from run to run.
    x264 = f"open-gop=0:stitchable=1:mbtree=0:keyint={options.keyint}:lookahead-threads=1"
    stream = container.add_stream(
        "libx264",
        rate=info.average_rate,
        options={"preset": options.preset, "crf": f"{options.crf:g}", "x264-params": x264},
        width=layout.width,
        height=layout.height,
        pix_fmt=layout.format.name,
        time_base=info.time_base,
    )
    context = stream.codec_context
    context.thread_count = 1
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.color_range = layout.tags.range
    context.colorspace = layout.tags.matrix
    context.color_primaries = layout.tags.primaries
    context.color_trc = layout.tags.transfer
    if info.interlaced and layout.height % 4 == 0:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    stream.set_display_matrix(info.display_matrix)
    return stream
