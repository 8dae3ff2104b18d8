"""Packets and pictures of one video stream, with their errors; shared by probing and reading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av.container
import av.error
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from operators.media.container import CLOCK_TIMES, describe
from operators.media.timeline import LONGEST_REORDERING, NO_TIME, Timeline
from operators.storage.errors import DecodeError, MediaError

_TAGGED_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
#: Seconds: a longer stay of the last frame is taken for a mistake of the container.
LONGEST_LAST = 10


def seconds(time: int | None, stream: VideoStream) -> str:
    """A time of the stream for messages."""
    return (
        "an unknown time"
        if time is None or time == NO_TIME or stream.time_base is None
        else f"{float(time * stream.time_base):.3f} s"
    )


def is_entry(picture: VideoFrame) -> bool:
    """True if decoding can start with this picture and gives it and all later ones exactly."""
    return picture.pict_type == PictureType.I or (
        picture.key_frame and picture.pict_type not in (PictureType.P, PictureType.B)
    )


def packets(
    container: av.container.InputContainer, streams: VideoStream | Sequence[Stream], url: str
) -> Iterator[Packet[Any]]:
    """Packets of a stream or of several, and at the end an empty one for each that flushes its decoder.

    Raises:
        DecodeError: the file cannot be read on.
    """
    time = None
    try:
        for packet in container.demux(streams):
            time = packet.pts * packet.time_base if packet.pts is not None else time
            yield packet
    except av.error.FFmpegError as error:
        after = "its beginning" if time is None else f"{float(time):.3f} s"
        # Several recordings in one Ogg file are allowed, and not read by FFmpeg.
        unknown = isinstance(error, av.error.PatchWelcomeError)
        cause = "FFmpeg does not read such files: convert it" if unknown else "the file is damaged"
        raise DecodeError(f"{url}: cannot be read on after {after} ({describe(error)}); {cause}") from error


def pictures(container: av.container.InputContainer, stream: VideoStream, url: str) -> Iterator[VideoFrame]:
    """Decode from where the container stands, by presentation order.

    Packets before the first entry point may fail: a recording may begin in the middle of a group of pictures.

    Raises:
        DecodeError: a packet cannot be decoded; the message names its time.
    """
    entered = False
    # In MPEG streams the mark says that a counter of packets jumps, as it does where two files were joined:
    # the decoder knows whether anything is missing.
    clock = bool(container.format.flags & CLOCK_TIMES)
    for packet in packets(container, stream, url):
        entered = entered or packet.is_keyframe
        if packet.size and packet.is_corrupt and entered and not clock:
            raise DecodeError(
                f"{url}: the frame at {seconds(packet.pts, stream)} is incomplete in the file; it is truncated or damaged"
            )
        try:
            decoded = packet.decode()
        except av.error.FFmpegError as error:
            if not entered:
                continue
            raise DecodeError(
                f"{url}: the frame at {seconds(packet.pts, stream)} cannot be decoded ({describe(error)}); the file is damaged"
            ) from error
        yield from decoded


def packet_timeline(
    container: av.container.InputContainer, stream: VideoStream, url: str, head: int | None
) -> Timeline | None:
    """Times of all frames as the packets say, or None where they do not say it clearly (missing or repeated
    times).

    Args:
        container: opened and not read from.
        stream: its video stream.
        url: for messages.
        head: time of the first picture that the decoder gives. Packets of earlier ones are left out where no
            decoder can decode them because they refer to pictures before the file's beginning.
    """
    times: list[int] = []
    durations: list[int] = []
    keys: list[bool] = []
    first_key: int | None = None
    undecodable: list[bool] = []
    for packet in packets(container, stream, url):
        if not packet.size or packet.is_discard:
            # A discarded packet (before an edit list's start) helps to decode and is not shown.
            if packet.size and packet.is_keyframe and first_key is None:
                first_key = packet.pts
            continue
        if packet.pts is None:
            return None
        if packet.is_corrupt:
            raise DecodeError(
                f"{url}: the frame at {seconds(packet.pts, stream)} is incomplete in the file; it is truncated or damaged"
            )
        undecodable.append(
            (first_key is None and not packet.is_keyframe)
            or (first_key is not None and packet.pts < first_key)
        )
        if packet.is_keyframe and first_key is None:
            first_key = packet.pts
        times.append(packet.pts)
        durations.append(packet.duration or 0)
        keys.append(packet.is_keyframe)
    if not times or head is None:
        return None
    shown = [
        i
        for i in np.argsort(np.array(times), kind="stable").tolist()
        if not (times[i] < head and undecodable[i])
    ]
    ordered = np.array([times[i] for i in shown], np.int64)
    if not len(ordered) or ordered[0] != head or (np.diff(ordered) <= 0).any():
        return None
    # The packet of the frame shown at place p is number shown[p]: at most this many others are decoded before
    # it and shown after it.
    reordering = int(max(0, (np.array(shown) - np.arange(len(shown))).max()))
    last = _last_duration(stream, int(ordered[-1]), durations[shown[-1]])
    return Timeline(
        ordered, np.flatnonzero([keys[i] for i in shown]), last, min(reordering, LONGEST_REORDERING)
    )


def _last_duration(stream: VideoStream, last: int, said: int) -> int:
    """Duration of the frame that is shown last.

    Packets of an MP4 file last until the next one in decoding order; what is true of the last frame is the
    end of the track.
    """
    end = None
    if stream.start_time is not None and stream.duration:
        end = stream.start_time + stream.duration
    elif not said and stream.time_base and (tagged := said_end(stream)) is not None:
        end = round(tagged / stream.time_base)
    rest = 0 if end is None else end - last
    return rest if stream.time_base and 0 < rest * stream.time_base < LONGEST_LAST else said


def said_end(stream: Stream) -> Fraction | None:
    """Time in seconds at which a stream says that it ends: by its header, or by a tag of Matroska's; None where it says nothing."""
    if stream.start_time is not None and stream.duration and stream.time_base:
        return (stream.start_time + stream.duration) * stream.time_base
    tag = _TAGGED_DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    hours, minutes, rest = (Fraction(part) for part in tag.groups())
    return 3600 * hours + 60 * minutes + rest


def scanned_timeline(container: av.container.InputContainer, stream: VideoStream, url: str) -> Timeline:
    """Times of all frames as decoding the whole stream gives them.

    Raises:
        DecodeError: a frame cannot be decoded.
        MediaError: there is no frame at all.
    """
    times: list[int] = []
    keys: list[int] = []
    duration = 0
    for picture in pictures(container, stream, url):
        if picture.is_corrupt:
            raise DecodeError(f"{url}: the frame at {seconds(picture.pts, stream)} is damaged")
        if is_entry(picture):
            keys.append(len(times))
        times.append(NO_TIME if picture.pts is None else picture.pts)
        duration = picture.duration or 0
    if not times:
        raise MediaError(f"{url}: no frame of the video stream can be decoded")
    return Timeline(np.array(times, np.int64), np.array(keys, np.int64), duration)
