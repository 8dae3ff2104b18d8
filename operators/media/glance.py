"""Properties of pictures that a stream does not tell, from a few pictures in several places of a file."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Iterator

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from operators.media.color import FULL_RANGE
from operators.media.container import open_input, video_stream
from operators.media.decoding import pictures
from operators.media.formats import is_transparent
from operators.media.matroska import chroma_location
from operators.media.sidedata import first_field, side_data_kinds
from operators.storage.errors import MediaError
from operators.storage.files import kept_by_file

#: Places of a file that are looked at, as shares of its duration, and pictures at each.
PLACES, PICTURES = (0.0, 0.3, 0.6), 6
#: Seconds: shorter files are looked at in one place.
SHORT = 5
#: Packets in which a stream says what it is.
FEW_PACKETS = 3
#: Kinds of side data whose value counts on from picture to picture.
COUNTED = {"GOP_TIMECODE"}
#: H.273's number of the place of 4:2:0 chroma samples in DV: top left (IEC 61834-2); the file does not say it.
DV_CHROMA = 2


@dataclasses.dataclass(frozen=True)
class Glance:
    """Properties of a video's pictures.

    Attributes:
        fields: "top" or "bottom" by the field that is shown first, if any of the pictures has two; else "".
        side_data: FFmpeg's names of the kinds of side data that one of them carries.
        chroma_location: H.273's number of the place of chroma samples; 0, left, where nothing is said.
        pix_fmt: FFmpeg's name of their pixel format; "" where none can be decoded.
        transparent: one of them has pixels that are not opaque.
        full_range: the pictures say that their Y'CbCr has the full range.
        unread_alpha: the stream says that it has transparency which FFmpeg's decoder does not read (VP8, VP9).
    """

    fields: str
    side_data: frozenset[str]
    chroma_location: int
    pix_fmt: str
    transparent: bool = False
    unread_alpha: bool = False
    full_range: bool = False


@kept_by_file(64)
def glance(url: str) -> Glance:
    """Look at a few pictures of a file.

    Raises:
        MediaError: it cannot be opened, or has no video stream.
    """
    fields, pix_fmt = "", ""
    kinds: set[str] = set()
    transparent = full = False
    for number, picture in enumerate(_some(url)):
        fields = fields or first_field(picture)
        # The time code of a recording is that of its first picture.
        kinds |= side_data_kinds(picture) - (COUNTED if number else set())
        pix_fmt = pix_fmt or picture.format.name
        transparent = transparent or is_transparent(picture)
        full = full or picture.format.name.startswith("yuvj") or int(picture.color_range) == FULL_RANGE
    with open_input(url) as container:
        stream = video_stream(container, url)
        location = _coded_location(container, stream) or chroma_location(stream)
        if stream.codec_context.name == "dvvideo" and pix_fmt == "yuv420p":
            location = DV_CHROMA
        said = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1"
        unread = said and stream.codec_context.name in ("vp8", "vp9")
    return Glance(fields, frozenset(kinds), location, pix_fmt, transparent, unread, full)


def _coded_location(container: InputContainer, stream: VideoStream) -> int:
    """H.273's number of the place of chroma samples as the pictures themselves say it, which counts where the container says another;
    0 where they say nothing.
    """
    name = stream.codec_context.name
    if name not in ("h264", "hevc"):
        return 0
    raw = io.BytesIO()
    try:
        with av.open(raw, "w", format=name) as out:
            target = out.add_stream_from_template(stream, opaque=True)
            for packet in itertools.islice(container.demux(stream), FEW_PACKETS):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
        raw.seek(0)
        with av.open(raw, format=name) as alone:
            return chroma_location(alone.streams.video[0])
    except (av.error.FFmpegError, ValueError, IndexError):
        return 0


def _some(url: str) -> Iterator[VideoFrame]:
    """Pictures from several places; those that cannot be reached or decoded are somebody else's matter."""
    with open_input(url) as container:
        stream = video_stream(container, url)
        duration = (container.duration or 0) / 1_000_000
        for share in PLACES:
            try:
                if share:
                    container.seek(round((duration * share) * 1_000_000) + (container.start_time or 0))
                for number, picture in enumerate(pictures(container, stream, url), 1):
                    yield picture
                    if number == PICTURES:
                        break
            except (av.error.FFmpegError, MediaError):
                return
            if duration < SHORT:
                return
