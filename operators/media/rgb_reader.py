"""Whole RGB pictures of frames [start, stop), by PyAV or, as an option, by decord.

For stages that only look at pictures. Those that draw need the frames' own planes, which decord cannot give:
they use `operators.media.reader`. Measured in docs/benchmarks.md (Readers).
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Iterator
from typing import Any, Literal

import av.error
import numpy as np

from operators.media.color import UNSPECIFIED
from operators.media.container import open_input, video_stream
from operators.media.decoding import is_entry, packets
from operators.media.formats import reformatted
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.storage.errors import DecodeError
from operators.storage.files import fingerprint, local_path

RgbReader = Literal["pyav", "decord"]
#: Matrix coefficients for which FFmpeg's conversion without tags, the only one that decord has, is right: SMPTE
#: 170M and what is taken for it. From this height on unspecified means BT.709.
SD_MATRICES, HD_HEIGHT = (5, 6), 720
#: Containers whose index decord's frame numbers agree with; in MPEG streams they do not.
CONTAINERS = ("mov,mp4", "matroska")


def read_rgb(
    url: str, start: int, stop: int, reader: RgbReader = "pyav", info: VideoInfo | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode frames ``start`` to ``stop - 1``; yields their numbers and uint8[h, w, 3] RGB, upright.

    Args:
        url: fsspec URL.
        start: first frame.
        stop: one after the last frame.
        reader: "pyav": pictures are those of `Frame.rgb`. "decord": of files that decord `suits`, FFmpeg's
            conversion, which differs from it by 3 at most: by decord, or by PyAV with the same pixels where
            decord is not installed or fails. Of other files those of `Frame.rgb`. decord does not notice
            damaged frames.
        info: what `probe_video` said of it; probed (and remembered) if None.

    Raises:
        ValueError: the range is not inside the video.
        DecodeError: a frame cannot be decoded.
    """
    info = probe_video(url) if info is None else info
    if reader == "pyav" or not suits(info) or not 0 <= start <= stop <= info.n_frames:
        for frame in read_frames(url, start, stop, info):
            yield frame.index, frame.rgb()
        return
    index = start
    for picture in _decord(info, start, stop):
        yield index, picture
        index += 1
    for frame in read_frames(url, index, stop, info):
        yield frame.index, swscale_rgb(frame)


def suits(info: VideoInfo) -> bool:
    """True for files that decord can be trusted with: on this machine, constant frame rate, one progressive
    upright video stream of 8-bit 4:2:0 in MP4 or Matroska, colours by SMPTE 170M in limited range.
    """
    matrix = info.color.matrix
    return (
        local_path(info.url) is not None
        and info.container.startswith(CONTAINERS)
        and info.pix_fmt == "yuv420p"
        and not (info.rotation or info.mirrored or info.fields or info.still or info.color.full_range)
        and (matrix in SD_MATRICES or (matrix == UNSPECIFIED and info.coded_height < HD_HEIGHT))
        and sum(stream.kind == "video" for stream in info.streams) == 1
        and len(np.unique(np.diff(info.pts))) <= 1
    )


def swscale_rgb(frame: Frame) -> np.ndarray:
    """uint8[h, w, 3], the RGB that FFmpeg makes by default, in coded orientation; decord's pixels."""
    return reformatted(frame.picture, format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()


def _decord(info: VideoInfo, start: int, stop: int) -> Iterator[np.ndarray]:
    """Pictures of a range, fewer (possibly none) where decord is not installed or fails."""
    if start == stop or (decord := _module()) is None:
        return
    failures: tuple[type[BaseException], ...] = (decord.DECORDError, decord.DECORDLimitReachedError)
    failures += av.error.FFmpegError, DecodeError, RuntimeError, AssertionError, StopIteration
    try:
        if not _closed_groups(*fingerprint(info.url)):
            return
        # One thread, as with PyAV; not one recovered frame is tolerated.
        reader = decord.VideoReader(str(local_path(info.url)), num_threads=1, fault_tol=1e-9)
        if len(reader) != info.n_frames or not _same_times(reader, info, start, stop):
            return
        reader.seek_accurate(start)
    except failures:
        return
    for _ in range(start, stop):
        try:
            picture = reader.next().asnumpy()
        except failures:
            return
        if picture.shape != (info.height, info.width, 3):
            return
        yield picture


@functools.lru_cache(maxsize=64)
def _closed_groups(url: str, size: int, stamp: str) -> bool:
    """True if every key frame is an intra picture and no frame after it in the file is shown before it.

    decord starts at any key frame without looking further: it gives wrong pictures at refresh points and in
    open groups of pictures.
    """
    del size, stamp
    keys, entries, latest = 0, 0, -math.inf
    with open_input(url) as container:
        stream = video_stream(container, url)
        stream.codec_context.skip_frame = "NONKEY"
        for packet in packets(container, stream, url):
            if packet.size:
                if packet.pts is None or packet.pts < latest:
                    return False
                if packet.is_keyframe:
                    keys, latest = keys + 1, packet.pts
            entries += sum(is_entry(picture) for picture in packet.decode())
    return keys == entries


def _same_times(reader: Any, info: VideoInfo, start: int, stop: int) -> bool:
    """True if decord numbers the frames as we do: their times agree, to less than half a frame."""
    theirs = reader.get_frame_timestamp(range(start, stop))[:, 0]
    ours = info.pts[start:stop] * float(info.time_base)
    return bool(np.abs(theirs - ours).max() < 0.5 / float(info.average_rate))


def _module() -> Any:
    """Package decord, None where it is not installed (it is there for x86-64 only)."""
    try:
        decord = importlib.import_module("decord")
    except (ImportError, OSError, RuntimeError):
        return None
    decord.logging.set_level(decord.logging.QUIET)
    return decord
