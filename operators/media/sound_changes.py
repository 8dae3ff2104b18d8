"""Sound of transport streams that becomes another in the middle: broadcasts do so, and recordings that were joined."""

from __future__ import annotations

from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from operators.media.clock import Rejoiner, clock_joins, time_origin
from operators.media.container import open_input
from operators.media.decoding import packets
from operators.storage.files import kept_by_file

#: Containers whose packets of AAC describe themselves (ADTS), where a copy in another container has one description for all.
_SELF_DESCRIBED = ("mpegts", "mpeg")


def change(stream: Stream, source: InputContainer, url: str) -> str:
    """Reason why packets of an audio stream cannot be copied: the time at which its rate or channels change; empty without one.

    Args:
        stream: of `source`.
        source: the opened file.
        url: of it.
    """
    if (
        stream.type != "audio"
        or source.format.name not in _SELF_DESCRIBED
        or stream.codec_context.name != "aac"
    ):
        return ""
    time = _changes(url).get(stream.index)
    return "" if time is None else f"its rate or channels change at {time:.3f} s"


@kept_by_file(64)
def _changes(url: str) -> dict[int, float]:
    """Times in seconds of the output at which streams of AAC change for the first time, by the number of the stream."""
    first: dict[int, tuple[int, int]] = {}
    changed: dict[int, float] = {}
    origin, joins = time_origin(url), clock_joins(url)
    clocks: dict[int, Rejoiner] = {}
    with open_input(url) as container:
        for stream in container.streams:
            if stream.type != "audio":
                stream.discard = Discard.all
        for packet in packets(container, list(container.streams.audio), url):
            index, said = packet.stream_index, _said(packet)
            if packet.pts is None or said is None:
                continue
            if index not in clocks:
                clocks[index] = Rejoiner(joins)
            time = packet.pts * packet.time_base
            time += clocks[index].offset(time) - origin
            if first.setdefault(index, said) != said:
                changed.setdefault(index, float(time))
    return changed


def _said(packet: Packet[Any]) -> tuple[int, int] | None:
    """Rate and channels in the header of an ADTS packet (ISO/IEC 14496-3, 1.A.2.2); None of another one."""
    header = memoryview(packet)[:4].tobytes()
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    return header[2] & 0x3D, header[3] & 0xC0
