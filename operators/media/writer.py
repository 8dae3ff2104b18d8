"""Encode a segment: a file of closed groups of pictures that can be concatenated with its neighbours by packets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from operators.media.codec_names import hardware_needs
from operators.media.color import LIMITED_RANGE
from operators.media.container import describe
from operators.media.encoders import (
    EncoderOptions,
    add_encoder,
    codec_for,
    encoded_format,
    encoded_range,
    reordering,
    segment_format,
    segment_options,
    to_encoded,
)
from operators.media.frames import Frame
from operators.media.label_drawing import Labeller
from operators.media.picture_marking import PictureMarker
from operators.media.probe import VideoInfo
from operators.storage.errors import MediaError
from operators.storage.files import atomic_write, suffix
from operators.threads import Behind
from retalk_models.local_files import sha256_of

DEFAULT = EncoderOptions()
#: Containers that hold rational times exactly (Matroska rounds to milliseconds).
SUFFIXES = (".mp4", ".mov")


@dataclasses.dataclass(frozen=True)
class EncodedSegment:
    """Receipt of an encoded segment: number of frames, size of the file in bytes, its SHA-256 in hexadecimal, and the square of
    the expected normal deviate of its mark (0: not marked).
    """

    frames: int
    bytes: int
    sha256: str
    mark_power: float = 0.0


def encode_segment(
    url: str, frames: Iterable[tuple[Frame, int]], info: VideoInfo, options: EncoderOptions = DEFAULT
) -> EncodedSegment:
    """Encode frames into one file, whole or not at all: MP4, or QuickTime for codecs that have no place in MP4.

    The stream has the source's coded size and orientation, pixel format (see `operators.media.formats` and
    `encoders.encoded_format`), colour tags and sample aspect ratio. One thread encodes, so that the bytes do not depend on the number of
    cores; headers do not depend on the content, so that segments of one title share them. A notice that the options ask for
    (`operators.media.label`) is drawn into copies of the frames, and so is a mark (`operators.media.picture_marking`).

    Args:
        url: fsspec URL of the file to write.
        frames: frames of the video described by ``info`` with their presentation times in ``info.time_base``,
            strictly ascending. Each is marked and encoded by a thread before the one after the next is asked for.
        info: the source video.
        options: see `EncoderOptions`.

    Raises:
        ValueError: there is no frame, times do not ascend, a frame is of another kind than the video, or a notice cannot be
            drawn (`operators.media.label_drawing`).
        MediaError: the encoder fails.
    """
    if suffix(url) not in SUFFIXES:
        raise ValueError(
            f"{url}: the name of a segment must end in {' or '.join(SUFFIXES)}, which keep times exactly"
        )
    with atomic_write(url) as path:
        try:
            count, power = _encode(path, frames, info, options)
        except av.error.FFmpegError as error:
            needs = hardware_needs(options.codec)
            needs = f"; it needs {needs}" if needs else ""
            raise MediaError(
                f"{url}: the pictures of {info.url} cannot be encoded as {codec_for(info, options)} ({describe(error)}{needs})"
            ) from error
        data = path.stat().st_size
        digest = sha256_of(path)
    return EncodedSegment(count, data, digest, round(power, 2))


def mp4_options(time_base_denominator: int) -> dict[str, str]:
    """Muxer options with which an MP4 or MOV file keeps times in this unit exactly, edit lists included, and
    holds no version or date.
    """
    return {
        "movie_timescale": str(time_base_denominator),
        "video_track_timescale": str(time_base_denominator),
        "fflags": "+bitexact",
    }


def _encode(
    path: Path, frames: Iterable[tuple[Frame, int]], info: VideoInfo, options: EncoderOptions
) -> tuple[int, float]:
    codec = codec_for(info, options)
    name, form = segment_format(codec), encoded_format(codec, info)
    limited = info.layout.tags.full_range and encoded_range(codec, info) == LIMITED_RANGE
    with av.open(
        f"file:{path}",
        "w",
        format=name,
        container_options={**mp4_options(info.time_base.denominator), **segment_options(codec)},
    ) as container:
        stream = add_encoder(container, info, codec, options)
        sink = _Sink(container, reordering(codec, options))
        end, marker, labeller = 0, PictureMarker(info, options), Labeller(info, options)

        def encode(frame: Frame, pts: int) -> None:
            shown = labeller.on(marker.on(frame, pts), pts)
            picture = to_encoded(shown.picture, form, limited)
            picture.pts, picture.time_base, picture.pict_type = pts, info.time_base, PictureType.NONE
            sink.expect(pts)
            sink.write(stream.encode(picture))

        with Behind() as encoder:
            for frame, pts in frames:
                if frame.layout != info.layout:
                    raise ValueError(
                        f"frame {frame.index} at pts {pts} is not of {info.url}: "
                        f"{frame.layout} instead of {info.layout}"
                    )
                encoder.do(encode, frame, int(pts))
                end = int(pts) + natural_duration(info, frame.index)
        sink.write(stream.encode(None))
        sink.close(end)
        return sink.frames, marker.power


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
