"""Frames [start, stop) of a video: seek, decode, and check that the frames are those asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction

import av.container
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from operators.media.container import open_input, video_stream
from operators.media.decoding import is_entry, pictures, seconds
from operators.media.formats import to_working
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.timeline import NO_TIME
from operators.storage.errors import DecodeError

#: Seconds before an entry point to seek to, tried in turn.
AIM = (Fraction(0), Fraction(1, 2), Fraction(3))
#: Entry points before the wanted one that are recognised when a seek goes further back than asked.
NEAR = 64


class _LostError(Exception):
    """Decoding from a seek point did not give the frames that the timeline names."""


def read_frames(
    url: str, start: int, stop: int, info: VideoInfo | None = None
) -> Generator[Frame, None, None]:
    """Decode frames ``start`` to ``stop - 1`` by presentation order, one at a time.

    Each frame's time is held against the timeline, so that a range gives the same pictures as a decode from
    the beginning. Where seeking does not lead to the right pictures, decoding starts again further back, at
    last at the beginning of the file.

    Args:
        url: fsspec URL.
        start: first frame.
        stop: one after the last frame.
        info: what `probe_video` said of the file; probed (and remembered) if None.

    Raises:
        ValueError: the range is not inside the video.
        DecodeError: a frame of the range, or one that it needs, is missing or cannot be decoded; the message
            names the time.
    """
    info = probe_video(url) if info is None else info
    if not 0 <= start <= stop <= info.n_frames:
        raise ValueError(f"{url}: frames {start} to {stop} are not inside the video's {info.n_frames}")
    index = start
    for entry, back in _attempts(info, start):
        try:
            for picture in _from_entry(url, info, entry, back, index, stop):
                yield Frame(index, int(info.pts[index]), picture, info.layout)
                index += 1
        except (_LostError, DecodeError):
            if entry == 0:
                raise
        if index == stop:
            return


def _attempts(info: VideoInfo, start: int) -> list[tuple[int, int]]:
    """Entry points to decode from, with how long before each to seek (in the stream's time base); last the
    file's beginning.

    Containers with an index find the entry point itself. In others a seek goes by decoding times and lands
    behind it, so aim earlier.
    """
    return [
        *(
            (entry, round(back / info.source_time_base))
            for entry in info.timeline.starts(start)
            for back in AIM
        ),
        (0, 0),
    ]


def _from_entry(
    url: str, info: VideoInfo, entry: int, back: int, start: int, stop: int
) -> Iterator[VideoFrame]:
    """Working pictures of frames [start, stop), decoded from frame ``entry`` on (0: from the beginning of the
    file).
    """
    if start == stop:
        return
    with open_input(url) as container:
        stream = video_stream(container, url)
        # A decoder that must find out how far pictures are reordered drops some when it learns it late.
        if hasattr(stream.codec_context, "reorder_depth"):  # PyAV 18
            stream.codec_context.reorder_depth = max(
                stream.codec_context.reorder_depth, info.timeline.reordering
            )
        if entry:
            _seek(container, stream, info, entry, back)
        for position, picture in _numbered(container, stream, url, info, entry):
            if position < start:
                continue
            if picture.is_corrupt:
                raise DecodeError(f"{url}: the frame at {seconds(picture.pts, stream)} is damaged")
            if (picture.width, picture.height) != (info.coded_width, info.coded_height):
                raise DecodeError(
                    f"{url}: the picture size changes to {picture.width}x{picture.height} at {seconds(picture.pts, stream)}; "
                    "split the file there or scale it to one size"
                )
            yield to_working(picture, info.layout.format)
            if position + 1 == stop:
                return
        raise DecodeError(
            f"{url}: the video ends before its frame at {float(int(info.pts[stop - 1]) * info.time_base):.3f} s; the file is damaged"
        )


def _seek(
    container: av.container.InputContainer, stream: VideoStream, info: VideoInfo, entry: int, back: int
) -> None:
    """Go to an entry point: by its time, or, where times repeat, by its place in the file."""
    timeline = info.timeline
    if timeline.places is None:
        container.seek(int(timeline.times[entry]) - back, stream=stream)
        return
    place = int(timeline.places[np.searchsorted(timeline.keys, entry)])
    container.seek(place, stream=stream, unsupported_byte_offset=True)


def _numbered(
    container: av.container.InputContainer, stream: VideoStream, url: str, info: VideoInfo, entry: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Pictures with their frame numbers, each recognised by its time.

    After a seek the first one that counts is an entry point named in the timeline, ``entry`` or one before
    it.
    """
    times = info.timeline.times
    keys = info.timeline.keys
    near = NEAR if info.timeline.places is None else 1
    entries = {int(times[k]): int(k) for k in keys[keys <= entry][-near:] if times[k] != NO_TIME}
    position = -1 if entry == 0 else None
    for picture in pictures(container, stream, url):
        if position is None:
            if picture.pts is not None and picture.pts > times[entry]:
                raise _LostError
            if picture.pts not in entries or not is_entry(picture):
                continue
            position = entries[picture.pts] - 1
        position += 1
        expected = int(times[position]) if position < len(times) else None
        if (NO_TIME if picture.pts is None else picture.pts) != expected:
            if entry:
                raise _LostError
            wanted = "the end" if expected is None else f"the frame at {seconds(expected, stream)}"
            raise DecodeError(
                f"{url}: {wanted} should follow, the decoder gave the one at {seconds(picture.pts, stream)}; the file is damaged"
            )
        yield position, picture
