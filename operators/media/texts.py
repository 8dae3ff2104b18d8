"""Text subtitles in another format: lines of a source to the samples of an output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

#: Units of a second in which lines are timed.
TIME_BASE = Fraction(1, 1_000_000)
#: Seconds for which a line is shown whose source does not say it, until the next one at most.
UNTOLD = Fraction(5)
#: Fields of a line in front of its text, as decoders give them.
_FIELDS = 8


@dataclasses.dataclass(frozen=True)
class Line:
    """A subtitle line.

    Attributes:
        start, end: in units of `TIME_BASE`; end None: untold.
        fields: of an ASS dialogue in front of its text.
        text: with ASS markup.
    """

    start: int
    end: int | None
    fields: str
    text: str


class TextConverter:
    """Text subtitles to the format of an output's stream.

    Args:
        target: the output's stream.
        single: the format shows one sample at a time (MP4): lines that overlap are shown together, in samples
            that begin and end where one of them does. Otherwise a line becomes a sample.
    """

    def __init__(self, target: SubtitleStream, single: bool) -> None:
        self._target, self._single = target, single
        self._active: list[Line] = []
        self._at = 0

    def add(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Samples that are complete once a packet of the source, with its times, is known."""
        subtitle = packet.stream.codec_context.decode2(packet)
        if subtitle is None or not len(subtitle):
            return
        assert packet.pts is not None
        start = round(packet.pts * packet.time_base / TIME_BASE)
        duration = round((packet.duration or 0) * packet.time_base / TIME_BASE)
        for rectangle in subtitle:
            if isinstance(rectangle, AssSubtitle):
                *fields, text = rectangle.ass.decode(errors="replace").split(",", _FIELDS)
                line = Line(max(0, start), start + duration if duration else None, ",".join(fields), text)
                if line.end is None or line.end > 0:
                    yield from self._add(line)

    def rest(self, end: Fraction) -> Iterator[Packet[Any]]:
        """Samples that are left at the output's end."""
        if self._single:
            yield from self._until(int(end / TIME_BASE))

    def _add(self, line: Line) -> Iterator[Packet[Any]]:
        if not self._single:
            end = line.end if line.end is not None else line.start + round(UNTOLD / TIME_BASE)
            yield self._encoded([line], line.start, end)
            return
        yield from self._until(line.start)
        # A line whose end is not told ends where the next one begins.
        self._active = [other for other in self._active if other.end is not None]
        self._active.append(line)

    def _until(self, time: int) -> Iterator[Packet[Any]]:
        """Samples of the lines that are shown, up to a time."""
        while self._active and self._at < time:
            begin = max(self._at, min(line.start for line in self._active))
            shown = [line for line in self._active if line.start <= begin]
            ends = [_end(line) for line in shown]
            end = min(time, *ends)
            if end > begin:
                yield self._encoded(shown, begin, end)
            self._at = max(begin, end)
            self._active = [line for line in self._active if _end(line) > end]
        self._at = max(self._at, time)

    def _encoded(self, lines: list[Line], begin: int, end: int) -> Packet[Any]:
        """One sample with the texts of lines, one below the other."""
        fields = lines[0].fields
        text = "\\N".join(
            line.text + ("{\\r}" if "{" in line.text and len(lines) > 1 else "") for line in lines
        )
        milliseconds = (end - begin) // 1000
        subtitle = SubtitleSet.create(text=f"{fields},{text}".encode(), start=0, end=milliseconds, pts=begin)
        packet = self._target.codec_context.encode_subtitle(subtitle)
        packet.pts = packet.dts = begin
        packet.duration, packet.time_base, packet.stream = end - begin, TIME_BASE, self._target
        return packet


def _end(line: Line) -> int:
    return line.end if line.end is not None else line.start + round(UNTOLD / TIME_BASE)
