"""Concatenate encoded segments by packets, with decoding times made anew for the whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from operators.media.container import open_input, video_stream
from operators.media.decoding import packets
from operators.storage.errors import MediaError


class HeadersDifferError(MediaError):
    """Segments cannot be joined: they were encoded with other options or by another version of the encoder."""


@dataclasses.dataclass(frozen=True)
class Ends:
    """The time line of concatenated segments, in units of ``time_base`` seconds.

    Attributes:
        start: time of the first frame.
        end: time at which the last frame ends.
        room: from the time at which the last packet is decoded to the end, if packets are decoded as soon as
            the frame before them by the reordering depth is shown, or from the packet before it to the last frame's time, if that is
            less.
    """

    start: int
    end: int
    room: int
    time_base: Fraction


def segment_ends(segments: Sequence[str]) -> Ends:
    """Start of the first segment and end of the last one.

    Raises:
        MediaError: a segment cannot be read.
    """
    with open_input(segments[0]) as container:
        start, _, time_base = _span(video_stream(container, segments[0]), segments[0])
    with open_input(segments[-1]) as container:
        stream, found = _read_segment(container, segments[-1])
        _, end, _ = _span(stream, segments[-1])
        depth = _depth(found)
        tail = sorted(int(p.pts) for p in found if p.pts is not None)[-2 - depth :]
    room = end - tail[-1 - depth] if len(tail) > depth else 0
    if len(tail) == depth + 2:
        # The last packet can then be decoded that long before it is shown.
        room = min(room, tail[-1] - tail[0])
    return Ends(start, end, room, time_base)


def _depth(found: list[Packet[Any]]) -> int:
    """The encoder's reordering depth: segments begin that many units of time before their first frame is
    shown (see `writer`).
    """
    assert found[0].pts is not None
    assert found[0].dts is not None
    return found[0].pts - found[0].dts


def _span(stream: VideoStream, url: str) -> tuple[int, int, Fraction]:
    """A segment's start and end and their unit."""
    if stream.start_time is None or not stream.duration or stream.time_base is None:
        raise MediaError(f"{url}: not a segment of this program, it does not tell its duration")
    return stream.start_time, stream.start_time + stream.duration, stream.time_base


def video_packets(
    segments: Sequence[str], target: Stream, ends: Ends, shown_durations: bool
) -> Iterator[Packet[Any]]:
    """All packets of all segments, by decoding order over the whole title.

    Presentation times are the segments' own. Decoding times follow from them: the i-th packet is decoded when
    the frame is shown that is ``depth`` places before it, ``depth`` being the encoder's reordering depth.

    Args:
        segments: fsspec URLs.
        target: the output's video stream.
        ends: of these segments.
        shown_durations: give packets the duration for which their frame is shown. Otherwise the last packet
            is given one that makes the whole end at ``ends.end`` (see `operators.media.writer`).

    Raises:
        MediaError: a segment cannot be read, is encoded with other headers than the first, or does not follow
            the one before it.
    """
    header: bytes | None = None
    delay: list[int] = []
    lead = 0
    for number, url in enumerate(segments):
        with open_input(url) as container:
            stream, found = _read_segment(container, url)
            pts = sorted(int(p.pts) for p in found if p.pts is not None)
            if header is None:
                header, delay = stream.codec_context.extradata, _lead(_depth(found), pts, ends)
                lead = ends.start - delay[0] if delay else 0
            if stream.codec_context.extradata != header or stream.time_base != ends.time_base:
                raise HeadersDifferError(
                    f"{url}: encoded with other options than {segments[0]}; all segments of a title must share them"
                )
            if (number and delay and pts[0] <= delay[-1]) or (number and not delay and pts[0] < ends.start):
                raise MediaError(
                    f"{url}: begins at {pts[0]} before the segment ahead of it has ended; segments must ascend in time"
                )
            shown = dict(zip(pts, np.diff([*pts, _span(stream, url)[1]]).tolist(), strict=True))
            decode = [*delay, *pts]
            if not shown_durations and number == len(segments) - 1:
                decode = _late([int(p.pts) for p in found if p.pts is not None], decode, lead)
            for i, packet in enumerate(found):
                assert packet.pts is not None
                packet.dts = decode[i]
                assert packet.dts <= packet.pts, "the encoder reorders deeper than it says"
                packet.duration = shown[packet.pts]
                if not shown_durations and number == len(segments) - 1 and i == len(found) - 1:
                    packet.duration = ends.end - packet.dts - lead
                packet.stream = target
                yield packet
            delay = decode[len(found) :]


def _read_segment(container: InputContainer, url: str) -> tuple[VideoStream, list[Packet[Any]]]:
    stream = video_stream(container, url)
    found = [packet for packet in packets(container, stream, url) if packet.size]
    if not found or not found[0].is_keyframe or any(packet.pts is None for packet in found):
        raise MediaError(f"{url}: not a segment of this program, it does not begin with a key frame")
    return stream, found


def _late(shown: list[int], decode: list[int], lead: int) -> list[int]:
    """Decoding times of the last segment: those of the last packets as far before they are shown as at the beginning.

    The muxer takes the whole to end where the last packet does, which is its own time and what is left from its decoding to the
    end; FFmpeg's demuxer stops at a key frame whose time and distance to the next packet reach the end.

    Args:
        shown: presentation times by decoding order.
        decode: decoding times, more than there are packets.
        lead: time from the first packet's decoding to its showing.
    """
    late, ordered = list(decode), sorted(shown)
    count = 1
    while count < len(shown) and shown[-count - 1 :] == ordered[-count - 1 :]:
        count += 1
    for i in range(len(shown) - count, len(shown)):
        late[i] = max(late[i - 1] + 1 if i else late[i], shown[i] - lead)
    return late


def _lead(depth: int, pts: list[int], ends: Ends) -> list[int]:
    """Decoding times of the packets before those that take the first frames' times: a frame interval apart if
    the end has room for it.
    """
    if not depth:
        return []
    interval = pts[1] - pts[0] if len(pts) > 1 else ends.end - ends.start
    step = max(1, min(interval, ends.room // (depth + 1)))
    return [pts[0] - (depth - i) * step for i in range(depth)]
