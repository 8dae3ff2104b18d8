"""Opening of containers: translates PyAV's errors and chooses the video stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import Any

import av
import av.container
import av.error
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from operators.media.channel_names import WithoutNames, foreign_order
from operators.media.reading import reading
from operators.storage.errors import MediaError
from operators.storage.files import filesystem, fingerprint, open_media

#: Bytes that FFmpeg asks of an fsspec file object at a time.
READ_BLOCK = 1 << 18
#: AVFMT_TS_DISCONT: time stamps are clock readings (MPEG transport and program streams), they start anywhere
#: and may jump.
CLOCK_TIMES = 0x0200
#: Seconds of nothing that an MP4 or QuickTime file may begin with.
LONGEST_BLANK = 10
#: Seconds of nothing at the beginning of other files that hardly anybody sees: their times stay as they are.
UNSEEN_BLANK = Fraction(1, 2)
#: A picture's name is a name, not a pattern for numbered ones.
_LITERAL = {"pattern_type": "none"}
#: Demuxers that read other files than the one that is opened, or the network: a video must not make us read
#: what it names.
PLAYLISTS = {
    "concat",
    "dash",
    "hls",
    "imf",
    "lavfi",
    "rtp",
    "rtsp",
    "sap",
    "sdp",
    "webm_dash_manifest",
    "avisynth",
    "vapoursynth",
}
_OPENED = {**_LITERAL, "format_whitelist": ",".join(sorted(av.formats_available - PLAYLISTS))}
#: How playlists begin.
_PLAYLIST = re.compile(
    rb"\s*(#EXTM3U|ffconcat |<\?xml[^>]*\?>\s*<(MPD|CompositionPlaylist|AssetMap)|v=0\r?\n)"
)
#: Tags in an unknown encoding are no reason to refuse a file; PyAV 19 takes them without being asked.
_TOLERANT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
#: Demuxers that read one picture.
PICTURE_FORMATS = ("image2", "_pipe")
#: Video streams that are no video: cover art, thumbnails.
COVER = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_input(url: str) -> Iterator[av.container.InputContainer]:
    """Open a media file for reading.

    Raises:
        MediaError: it is missing, a directory, empty, or no media file.
    """
    fingerprint(url)
    with reading(url):
        yield from _opened(url)


def _opened(url: str) -> Iterator[av.container.InputContainer]:
    with ExitStack() as stack:
        container = stack.enter_context(_source(url, open_media(url)))
        if order := foreign_order(container):
            stack.close()
            container = stack.enter_context(_source(url, WithoutNames(url)))
            if foreign_order(container):
                raise MediaError(
                    f"{url}: the order of its sound's channels cannot be read ({order}); convert the sound"
                )
        yield container


def unread_names(url: str) -> str:
    """Channels of a file's first sound whose names `open_input` leaves out because PyAV cannot read their order; "" where it reads all."""
    with _source(url, open_media(url)) as container:
        return foreign_order(container)


@contextmanager
def _source(url: str, source: Any) -> Iterator[av.container.InputContainer]:
    try:
        try:
            container = av.open(source, "r", buffer_size=READ_BLOCK, container_options=_OPENED, **_TOLERANT)
        except av.error.FFmpegError as error:
            if _PLAYLIST.match(_head(url)):
                raise MediaError(
                    f"{url}: is a playlist that names other files; give the media file itself"
                ) from error
            raise MediaError(
                f"{url}: not a media file that can be read ({describe(error)}); check that it plays"
            ) from error
        with container:
            yield container
    finally:
        if not isinstance(source, str):
            source.close()


def _head(url: str) -> bytes:
    fs, path = filesystem(url)
    return bytes(fs.cat_file(path, start=0, end=256))


def describe(error: av.error.FFmpegError) -> str:
    """FFmpeg's words for an error."""
    return str(error.strerror)


def is_picture(container: av.container.InputContainer) -> bool:
    """True if the container is one still picture (JPEG, PNG, WebP, ...)."""
    return any(
        container.format.name == name or container.format.name.endswith(name) for name in PICTURE_FORMATS
    )


def video_stream(container: av.container.InputContainer, url: str) -> VideoStream:
    """`find_video`, with the demuxer told to skip all other streams.

    Raises:
        MediaError: as `find_video`.
    """
    stream = find_video(container, url)
    # Segments are decoded side by side: threads inside one decoder would only add up.
    stream.codec_context.thread_count = 1
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def find_video(container: av.container.InputContainer, url: str) -> VideoStream:
    """The video stream that is dubbed: the default one, else the first; cover art and thumbnails are no
    video.

    Raises:
        MediaError: there is none, or no decoder for it.
    """
    streams = [s for s in container.streams.video if not s.disposition & COVER]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        cover = " (only cover art)" if container.streams.video else ""
        raise MediaError(f"{url}: no video stream{cover}, the file holds {kinds}; give a video")
    stream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
    if stream.codec_context is None or not stream.width or not stream.height:
        raise MediaError(
            f"{url}: the video stream cannot be decoded (unknown codec or no picture size); convert it first"
        )
    return stream


def clock_origin(container: av.container.InputContainer) -> Fraction:
    """Seconds at which the container's time line starts for a player: the earliest start of its audio and
    video.

    MP4 and QuickTime files say a delay of all tracks by edit lists: it is kept, unless it is so long that it
    can only be a clock reading; what they have before 0 is hidden.
    """
    starts = [
        s.start_time * s.time_base
        for s in container.streams
        if s.type in ("audio", "video")
        and not s.disposition & COVER
        and s.start_time is not None
        and s.time_base
    ]
    earliest = min(starts, default=Fraction(0))
    if container.format.flags & CLOCK_TIMES:
        return earliest
    if container.format.name.startswith("mov,mp4") and earliest <= LONGEST_BLANK:
        return Fraction(0)
    return Fraction(0) if 0 <= earliest <= UNSEEN_BLANK else earliest
