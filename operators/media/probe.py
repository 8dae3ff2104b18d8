"""Facts about a video: size, colours, orientation, and the presentation time of every frame.

Frames are numbered by presentation time. Packets say the times in containers that store one for each frame
(MP4, Matroska, ...); elsewhere (MPEG program and transport streams, AVI, raw streams, ...) and where times
are missing or repeated, the file is decoded once from end to end.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av.container
import numpy as np
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from operators.media.clock import LONGEST_GAP, clock_joins, placed, rejoined, time_origin
from operators.media.color import UNSPECIFIED, ColorTags
from operators.media.container import CLOCK_TIMES, is_picture, open_input, video_stream
from operators.media.decoding import packet_timeline, pictures, scanned_timeline
from operators.media.formats import working_format, working_tags
from operators.media.frames import FrameLayout
from operators.media.glance import glance
from operators.media.integrity import check_complete
from operators.media.limits import MediaLimits
from operators.media.orientation import read_orientation
from operators.media.sidedata import hdr_parameters
from operators.media.timeline import LONGEST_FRAME, NO_TIME, Timeline
from operators.storage.errors import MediaError
from operators.storage.files import kept_by_file

#: Demuxers whose packets each carry the time of one frame.
PACKET_TIMES = ("mov,mp4", "matroska", "flv", "nut", "ivf", "gif", "apng")
#: Demuxers of animated pictures.
ANIMATIONS = ("gif", "apng", "webp_pipe", "webp")
#: Seconds of sound without a picture that a file may begin with: silence is written for them.
LATEST_PICTURE = 600
#: Frames per second of most of a video from which on its clock is damaged.
MOST_FRAMES = 10_000
#: Frames per second that a still picture is given.
STILL_RATE = Fraction(25)


@dataclasses.dataclass(frozen=True)
class StreamInfo:
    """One stream of a file, as listed by `probe_video`."""

    index: int
    kind: str
    codec: str
    language: str


@dataclasses.dataclass(frozen=True, eq=False)
class VideoInfo:
    """A video stream, described.

    Attributes:
        url: fsspec URL of the file.
        width, height: of the upright picture, in pixels.
        coded_width, coded_height: of the picture as it is coded.
        rotation: degrees clockwise that turn the coded picture upright: 0, 90, 180 or 270.
        mirrored: the turned picture is mirrored left to right.
        display_matrix: the container's matrix that says so, None without one.
        codec: FFmpeg's name of the codec, e.g. ``"h264"``.
        profile: FFmpeg's name of the codec's profile, "" where it says none.
        container: FFmpeg's name of the container format.
        pix_fmt: FFmpeg's name of the decoded pixel format.
        layout: pixel format, colours and orientation of the frames that `read_frames` gives.
        sample_aspect_ratio: width of a pixel divided by its height.
        chroma_location: H.273's number of the place of chroma samples; 0, left, where nothing is said.
        fields: "" for progressive frames; "top" or "bottom" where frames hold two fields, by which of them is
            shown first.
        hdr: mastering display and content light level, as parameters of x264; empty without them.
        time_base: seconds of one unit of `pts`; the numerator is 1.
        pts: int64[n], presentation time of each frame, strictly ascending.
        last_duration: duration of the last frame in units of `time_base`.
        average_rate: frames per second over the whole stream.
        still: the file is a still picture, given as a video of one frame.
        streams: all streams of the file.
        timeline: where decoding can start; for `read_frames`.
        source_time_base, origin: `pts` is the stream's own time in ``source_time_base`` less ``origin`` (see
            `clock.time_origin`), in `time_base`; behind a break of the clock it is later (see `clock`).
    """

    url: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    mirrored: bool
    display_matrix: tuple[int, ...] | None
    codec: str
    container: str
    pix_fmt: str
    layout: FrameLayout
    sample_aspect_ratio: Fraction
    fields: str
    hdr: str
    time_base: Fraction
    pts: np.ndarray
    last_duration: int
    average_rate: Fraction
    still: bool
    streams: tuple[StreamInfo, ...]
    timeline: Timeline
    source_time_base: Fraction
    origin: int
    chroma_location: int = 0
    profile: str = ""

    @property
    def n_frames(self) -> int:
        return len(self.pts)

    @property
    def color(self) -> ColorTags:
        """Colour tags of the frames that `read_frames` gives."""
        return self.layout.tags

    @property
    def start(self) -> Fraction:
        """Time of the first frame in seconds."""
        return int(self.pts[0]) * self.time_base

    @property
    def end(self) -> Fraction:
        """Time at which the last frame ends, in seconds."""
        return (int(self.pts[-1]) + self.last_duration) * self.time_base

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's start to the last frame's end."""
        return self.end - self.start


def probe_video(url: str, limits: MediaLimits | None = None) -> VideoInfo:
    """Describe the video stream of a file. Remembered for a file until it changes.

    Args:
        url: the file.
        limits: what it may be at most; looked at before anything is decoded, and again when all is known.

    Raises:
        LimitError: a limit is exceeded.
        MediaError: the file is missing, a directory, empty, not media, truncated, or has no video stream that
            can be decoded.
        DecodeError: a frame cannot be decoded, where the whole file had to be decoded to know the frames'
            times.
    """
    if limits is None:
        return _probe_video(str(url))
    limits.check_file(str(url))
    with open_input(str(url)) as container:
        limits.check_header(str(url), container)
    info = _probe_video(str(url))
    limits.check_size(str(url), info.width, info.height)
    limits.check_seconds(str(url), float(info.duration))
    return info


@kept_by_file(16)
def _probe_video(url: str) -> VideoInfo:
    with open_input(url) as container:
        stream = video_stream(container, url)
        check_complete(url, container, stream)
        head = next(pictures(container, stream, url), None)
    if head is None:
        raise MediaError(f"{url}: no frame of the video stream can be decoded")
    timeline = None
    with open_input(url) as container:
        stream = video_stream(container, url)
        if container.format.name.startswith(PACKET_TIMES):
            timeline = packet_timeline(container, stream, url, head.pts)
    with open_input(url) as container:
        stream = video_stream(container, url)
        if timeline is None:
            timeline = scanned_timeline(container, stream, url)
        return _describe(url, container, stream, head, timeline)


def _describe(
    url: str,
    container: av.container.InputContainer,
    stream: VideoStream,
    head: VideoFrame,
    timeline: Timeline,
) -> VideoInfo:
    assert stream.time_base is not None
    clock = bool(container.format.flags & CLOCK_TIMES)
    origin = int(time_origin(url) / stream.time_base)
    still = is_picture(container) and len(timeline.times) == 1
    rate = STILL_RATE if still else _rate(stream, timeline)
    shown = timeline
    if joins := clock_joins(url):
        shown = rejoined(timeline, joins, stream.time_base)
        timeline = placed(timeline, url) if clock else timeline  # others are not read from a place in bytes
    pts, time_base, last_duration = shown.clean(stream.time_base, 1 / rate, origin)
    _check_times(url, pts, last_duration, time_base)
    if clock:
        _check_clock(url, shown.times, timeline.times, stream.time_base)
    orientation, matrix = read_orientation(head, url, still)
    tags, seen = _tags(head, stream.codec_context), glance(url)
    context = stream.codec_context
    layout = FrameLayout(
        working_format(head.format.name, head.width, head.height, still or _is_animation(container)),
        working_tags(head.format.name, tags),
        orientation,
        head.width,
        head.height,
    )
    width, height = orientation.size(head.width, head.height)
    return VideoInfo(
        url=url,
        width=width,
        height=height,
        coded_width=head.width,
        coded_height=head.height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        display_matrix=matrix,
        codec=context.name,
        container=container.format.name,
        pix_fmt=head.format.name,
        layout=layout,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        fields=seen.fields,
        hdr=hdr_parameters(head),
        time_base=time_base,
        pts=pts,
        last_duration=last_duration,
        average_rate=rate if len(pts) == 1 else _average_rate(stream, pts, last_duration, time_base),
        still=still,
        streams=tuple(
            StreamInfo(s.index, s.type, _codec_name(s), s.language or "") for s in container.streams
        ),
        timeline=timeline,
        source_time_base=stream.time_base,
        origin=origin,
        chroma_location=seen.chroma_location,
        profile=str(context.profile or ""),
    )


def _tags(picture: VideoFrame, context: VideoCodecContext) -> ColorTags:
    """The picture's colour tags, and where it has none its decoder's."""

    def either(name: str, unspecified: int) -> int:
        value = int(getattr(picture, name))
        return value if value != unspecified else int(getattr(context, name))

    return ColorTags(
        either("color_range", 0),
        *(either(name, UNSPECIFIED) for name in ("colorspace", "color_primaries", "color_trc")),
    )


def _check_clock(url: str, shown: np.ndarray, times: np.ndarray, time_base: Fraction) -> None:
    """Refuse a recording whose clock jumps in the middle of its pictures: nothing says how long the frames
    around the jump last.
    """
    longest = LONGEST_GAP / time_base
    if not (np.abs(np.diff(shown[shown != NO_TIME])) > longest).any():
        return
    known = times[times != NO_TIME]
    jump = int(np.argmax(np.abs(np.diff(known)) > longest))
    before, after = (float(int(known[jump + i]) * time_base) for i in (0, 1))
    raise MediaError(
        f"{url}: the time stamps jump from {before:.3f} s to {after:.3f} s; remux the recording to repair them"
    )


def _check_times(url: str, pts: np.ndarray, last: int, time_base: Fraction) -> None:
    """Refuse a frame that lasts longer than an output can say, a beginning of hours without pictures, and a clock that is too fast."""
    if (begin := int(pts[0]) * time_base) > LATEST_PICTURE:
        raise MediaError(
            f"{url}: the picture begins {float(begin):.0f} s after the sound; remux the recording to repair its time stamps"
        )
    lasting = np.append(np.diff(pts), last)
    longest = int(np.argmax(lasting))
    if lasting[longest] > LONGEST_FRAME:
        at, seconds = (float(int(time) * time_base) for time in (pts[longest], lasting[longest]))
        raise MediaError(
            f"{url}: the frame at {at:.3f} s lasts {seconds:.0f} s; remux the recording to repair its time stamps"
        )
    if len(pts) > 2 and (rate := 1 / (Fraction(float(np.median(np.diff(pts)))) * time_base)) > MOST_FRAMES:
        raise MediaError(
            f"{url}: {float(rate):,.0f} frames a second; remux the recording to repair its time stamps"
        )


def _rate(stream: VideoStream, timeline: Timeline) -> Fraction:
    """Frames per second where a duration must be guessed."""
    known = timeline.times[timeline.times != NO_TIME]
    steps = np.diff(known)
    if (steps > 0).any() and stream.time_base:
        return 1 / (Fraction(int(np.median(steps[steps > 0]))) * stream.time_base)
    return stream.average_rate or stream.guessed_rate or STILL_RATE


def _average_rate(stream: VideoStream, pts: np.ndarray, last_duration: int, time_base: Fraction) -> Fraction:
    """Frames divided by duration; the container's own figure where it agrees to 0.1 % (times of a coarse time
    base are rounded).
    """
    measured = Fraction(len(pts)) / ((int(pts[-1] - pts[0]) + last_duration) * time_base)
    said = stream.average_rate
    return (
        said
        if said and abs(said / measured - 1) < Fraction(1, 1000)
        else measured.limit_denominator(1_000_000)
    )


def _codec_name(stream: Stream) -> str:
    # Not every stream without a decoder has a name of its own.
    return (
        stream.codec_context.name
        if stream.codec_context is not None
        else str(getattr(stream, "name", None) or "unknown")
    )


def _is_animation(container: av.container.InputContainer) -> bool:
    """True for animated pictures, which are R'G'B' by their nature."""
    return container.format.name in ANIMATIONS


def is_still_image(url: str) -> bool:
    """True if the file is one still picture (JPEG, PNG, WebP, ...): `probe_video` gives it as a video of one
    frame at 25 frames per second.

    Raises:
        MediaError: as for `probe_video`, where the file cannot be opened.
    """
    with open_input(url) as container:
        return is_picture(container)
