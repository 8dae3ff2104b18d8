"""Encode a segment: a closed-GOP H.264 file that can be concatenated with its neighbours by packets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from operators.media.container import describe
from operators.media.frames import Frame
from operators.media.probe import VideoInfo
from operators.storage.errors import MediaError
from operators.storage.files import atomic_write, suffix
from retalk_models.local_files import sha256_of

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]

#: Containers that hold rational times exactly (Matroska rounds to milliseconds).
SUFFIXES = (".mp4", ".mov")


@dataclasses.dataclass(frozen=True)
class EncoderOptions:
    """Encoder settings of segments. All segments of a title must be encoded with the same options.

    The default preset costs 8 ms of CPU for a 720p frame where ``veryfast`` costs 13, for a fifth more bytes
    at the same PSNR (measured on talking heads, 2 cores; `benchmarks/media.py` measures it again).

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

    @property
    def reordering(self) -> int:
        """Packets that come before one whose frame is shown before theirs: x264's B-frames, of which one in a
        run is a reference.
        """
        return 0 if self.preset == "ultrafast" or self.keyint == 1 else 2


@dataclasses.dataclass(frozen=True)
class EncodedSegment:
    """Receipt of an encoded segment: number of frames, size of the file in bytes, and its SHA-256 in
    hexadecimal.
    """

    frames: int
    bytes: int
    sha256: str


def encode_segment(
    url: str, frames: Iterable[tuple[Frame, int]], info: VideoInfo, options: EncoderOptions = EncoderOptions()
) -> EncodedSegment:
    """Encode frames into one file (MP4 or MOV by the suffix of ``url``), whole or not at all.

    The stream has the source's coded size and orientation, pixel format (see `operators.media.formats`),
    colour tags and sample aspect ratio. One thread encodes, so that the bytes do not depend on the number of
    cores; headers do not depend on the content, so that segments of one title share them.

    Args:
        url: fsspec URL of the file to write.
        frames: frames of the video described by ``info`` with their presentation times in ``info.time_base``,
            strictly ascending. Each frame is encoded before the one after the next is asked for.
        info: the source video.
        options: see `EncoderOptions`.

    Raises:
        ValueError: there is no frame, times do not ascend, or a frame is of another kind than the video.
        MediaError: the encoder fails.
    """
    if suffix(url) not in SUFFIXES:
        raise ValueError(
            f"{url}: the name of a segment must end in {' or '.join(SUFFIXES)}, which keep times exactly"
        )
    with atomic_write(url) as path:
        try:
            count = _encode(path, frames, info, options)
        except av.error.FFmpegError as error:
            raise MediaError(f"{url}: cannot be encoded ({describe(error)})") from error
        data = path.stat().st_size
        digest = sha256_of(path)
    return EncodedSegment(count, data, digest)


def mp4_options(time_base_denominator: int) -> dict[str, str]:
    """Muxer options with which an MP4 or MOV file keeps times in this unit exactly, edit lists included, and
    holds no version or date.
    """
    return {
        "movie_timescale": str(time_base_denominator),
        "video_track_timescale": str(time_base_denominator),
        "fflags": "+bitexact",
    }


def _encode(path: Path, frames: Iterable[tuple[Frame, int]], info: VideoInfo, options: EncoderOptions) -> int:
    with av.open(f"file:{path}", "w", container_options=mp4_options(info.time_base.denominator)) as container:
        stream = _add_stream(container, info, options)
        sink = _Sink(container, options.reordering)
        end = 0
        for frame, pts in frames:
            if frame.layout != info.layout:
                raise ValueError(
                    f"frame {frame.index} at pts {pts} is not of {info.url}: {frame.layout} instead of {info.layout}"
                )
            picture = frame.picture
            picture.pts, picture.time_base, picture.pict_type = int(pts), info.time_base, PictureType.NONE
            sink.expect(int(pts))
            sink.write(stream.encode(picture))
            end = int(pts) + natural_duration(info, frame.index)
        sink.write(stream.encode(None))
        sink.close(end)
        return sink.frames


class _Sink:
    """Muxer of packets with decoding times such that the file says the end of the last frame, whatever the
    intervals between frames.

    An MP4 file holds differences of decoding times only, and the duration of the packet that is last in
    decoding order.
    """

    def __init__(self, container: OutputContainer, depth: int) -> None:
        self._container, self._depth = container, depth
        self._pts: list[int] = []
        self._held: Packet[VideoStream] | None = None
        self._written = 0

    @property
    def frames(self) -> int:
        return len(self._pts)

    def expect(self, pts: int) -> None:
        """The next frame that is given to the encoder."""
        if self._pts and pts <= self._pts[-1]:
            raise ValueError(f"presentation times must ascend, {pts} follows {self._pts[-1]}")
        self._pts.append(pts)

    def write(self, packets: list[Packet[VideoStream]]) -> None:
        """Packets in decoding order."""
        for packet in packets:
            i = self._written
            packet.dts = self._pts[i - self._depth] if i >= self._depth else self._pts[0] - self._depth + i
            assert packet.pts is not None
            assert packet.dts <= packet.pts, "the encoder reorders deeper than its options say"
            self._flush()
            self._held = packet
            self._written += 1

    def close(self, end: int) -> None:
        """Write the last packet so that the file ends at ``end``."""
        if self._held is None or self._held.dts is None:
            raise ValueError("no frames to encode")
        self._held.duration = end - self._held.dts - self._depth
        self._flush()

    def _flush(self) -> None:
        if self._held is not None:
            self._container.mux(self._held)


def natural_duration(info: VideoInfo, index: int) -> int:
    """Duration of a frame in its video, in ``info.time_base``."""
    return int(info.pts[index + 1] - info.pts[index]) if index + 1 < info.n_frames else info.last_duration


def _add_stream(container: OutputContainer, info: VideoInfo, options: EncoderOptions) -> VideoStream:
    layout = info.layout
    # Macroblock tree is off: with B-frames its AVX-512 code reads memory that nothing has written, and the
    # bytes differ from run to run.
    x264 = f"open-gop=0:stitchable=1:mbtree=0:keyint={options.keyint}:lookahead-threads=1"
    if info.chroma_location and layout.format.chroma == (1, 1):
        x264 += f":chromaloc={info.chroma_location}"
    # Fields of half a chroma sample cannot be cropped.
    if info.fields and layout.height % (2 << layout.format.chroma[1]) == 0:
        x264 += ":tff=1" if info.fields == "top" else ":bff=1"
    if info.hdr:
        x264 += f":{info.hdr}"
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
    stream.set_display_matrix(info.display_matrix)
    return stream
