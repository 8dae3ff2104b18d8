"""Tracks that an output takes from its source beside the dubbed picture: audio, subtitles, further pictures,
attachments, chapters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Iterator, Sequence, Set
from fractions import Fraction
from typing import Any, cast

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from operators.media.audio import audio_blocks, audio_channels
from operators.media.channel_names import has_unusual_channels
from operators.media.clock import Rejoiner
from operators.media.container import describe, open_input
from operators.media.decoding import packets
from operators.media.languages import container_language
from operators.media.losses import Properties, properties
from operators.media.loudness import levelling
from operators.media.sound_changes import change
from operators.media.soundtrack import AAC_LAYOUTS, RATE, USUAL_LAYOUTS, aac_packets, add_aac
from operators.media.tags import track_tags
from operators.media.texts import TIME_BASE, TextConverter
from operators.media.timeline import LONGEST_REORDERING
from operators.storage.errors import NoAudioError

#: Subtitles that are text, and what they become in a container that cannot hold their format.
_TEXT = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
_TEXT_OF = {"mp4": "mov_text", "mov": "mov_text", "matroska": "ass"}
_PICTURE_TYPES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}

#: Seconds by which a packet is moved behind the one before it.
STEP = Fraction(1, 1000)
#: An end in seconds that no track reaches.
NEVER = Fraction(1 << 40)


@dataclasses.dataclass(frozen=True)
class Cut:
    """The output's time line: the source's times less ``origin``, until ``end``, where the picture ends; in seconds. Sound and further
    pictures end at ``sound_end`` (`NEVER`: as in the source). Behind breaks of the source's clock times are later by ``joins`` (see
    `operators.media.clock`).
    """

    origin: Fraction
    end: Fraction
    joins: tuple[Fraction, ...] = ()
    sound_end: Fraction = NEVER


class Shown:
    """Packets of a copied track that are to be played, and those that a decoder needs before them.

    An edit list may hide the beginning and the end of a track, whose packets are there.

    Args:
        hides: the output's container hides what lies before time 0.
    """

    def __init__(self, hides: bool) -> None:
        self._hides = hides
        self._begun = False

    def keep(self, packet: Packet[Any]) -> bool:
        """True for a packet that is written."""
        assert packet.pts is not None
        if not packet.is_discard:
            # Pictures that refer to hidden ones cannot be decoded without them.
            self._begun = self._begun or packet.is_keyframe or packet.stream.type != "video" or self._hides
            return self._begun
        return self._hides and not self._begun and packet.pts < 0


class Carrier:
    """Copier of a source's streams into an output: by packets where the container can hold them, else as AAC
    or as its own kind of text.

    Attributes:
        warnings: what was changed or left out, in words.
        carried: properties of the source's streams, by the number of the stream that each becomes.
        covers: pictures of cover art that the output should have.
    """

    def __init__(
        self, container: OutputContainer, name: str, source: InputContainer, url: str, cut: Cut
    ) -> None:
        self.container, self.name, self.source, self.url, self.cut = container, name, source, url, cut
        self.warnings: list[str] = []
        self.carried: dict[int, Properties] = {}
        self.covers = 0
        self._copies: dict[int, Stream] = {}
        self._texts: dict[int, TextConverter] = {}
        self._encoded: dict[int, AudioStream] = {}
        self._lost: dict[int, list[float]] = {}

    def add(self, streams: Sequence[Stream]) -> None:
        """Add these streams of the source to the output; before its header is written."""
        for stream in streams:
            if stream.type == "attachment":
                self._attach(stream)
            elif (
                stream.type == "video"
                and stream.disposition & Disposition.attached_pic
                and self.name == "matroska"
            ):
                self._attach_cover(stream)
            elif stream.type in ("audio", "video", "subtitle"):
                self._carry(stream)
            elif not self._derived(stream):
                self._leave(stream, f"{self.name} cannot hold it")

    def packets(self) -> list[Iterator[Packet[Any]]]:
        """Packets of all added streams, each iterator by decoding order, cut at the output's end."""
        encoded = [self._encode(index, target) for index, target in self._encoded.items()]
        return [*encoded, self._copied()] if self._copies or self._texts else encoded

    def lose(self, packet: Packet[Any]) -> bool:
        """Leave out a packet that the muxer refuses; False if it is of no copied track."""
        index = next((i for i, copy in self._copies.items() if copy is packet.stream), None)
        if index is not None:
            self._lost.setdefault(index, []).append(float((packet.pts or 0) * packet.time_base))
        return index is not None

    def settle(self, filled: Set[int]) -> None:
        """Note the packets and tracks that were left out, once all packets are written.

        Args:
            filled: numbers of the output's streams that have packets. MP4 and QuickTime files have no others:
                the streams behind them move up.
        """
        for index, times in self._lost.items():
            label = _label(self.source.streams[index])
            self.warnings.append(
                f"{label}: damaged packets are left out, {len(times)} of them, the first at {times[0]:.3f} s"
            )
        if self.name == "matroska":
            return
        empty = [index for index in self.carried if index not in filled]
        self.warnings += [f"{self.carried[index].label}: left out, it is empty" for index in empty]
        self.carried = {
            index - sum(other < index for other in empty): kept
            for index, kept in self.carried.items()
            if index in filled
        }

    def _carry(self, stream: Stream) -> None:
        reason = "its codec is unknown"
        if stream.codec_context is not None:
            reason = refusal(stream, self.name) or change(stream, self.source, self.url)
        if not reason:
            target = _copy(self.container, stream, self.name)
            self._copies[stream.index] = target
            if self.name == "mp4" and target.codec_context.name.startswith("pcm_"):
                self.warnings.append(
                    f"{_label(stream)}: kept as PCM (ISO/IEC 23003-5), which few players read in MP4 files; "
                    "all do in .mov and .mkv"
                )
        elif stream.type == "audio" and stream.codec_context is not None:
            layout, channels = audio_channels(self.url, stream.index)
            known = AAC_LAYOUTS.get(layout, "mono" if len(channels) == 1 else "stereo")
            target = self._encoded[stream.index] = add_aac(self.container, known)
            mixed = "" if target.codec_context.channels == len(channels) else f", {layout} as stereo"
            self.warnings.append(f"{_label(stream)}: encoded as AAC{mixed} ({self.name}: {reason})")
        elif stream.codec_context is not None and stream.codec_context.name in _TEXT:
            target = self._add_text(stream)
            self._texts[stream.index] = TextConverter(target, single=self.name != "matroska")
            self.warnings.append(
                f"{_label(stream)}: converted to {target.codec_context.name} ({self.name}: {reason})"
            )
        else:
            self._leave(stream, reason)
            return
        target.metadata.update(track_tags(stream.metadata))
        if stream.language:
            target.metadata["language"] = container_language(self.name, stream.language)
        target.disposition = stream.disposition
        if stream.disposition & Disposition.attached_pic:
            self.covers += 1  # a tag of the file, behind all tracks when it is read
        else:
            self.carried[target.index] = properties(stream, _label(stream))

    def _derived(self, stream: Stream) -> bool:
        """True if a track only repeats chapters or time code, which the muxer writes from the output's tags."""
        chapters = stream.type == "data" and stream.name == "bin_data" and bool(self.source.chapters())
        return chapters or "timecode" in map(str.lower, stream.metadata)

    def _leave(self, stream: Stream, reason: str) -> None:
        self.warnings.append(f"{_label(stream)}: left out ({reason})")

    def _attach(self, stream: Stream) -> None:
        if self.name != "matroska":
            self._leave(stream, f"{self.name} holds no attachments")
            return
        attachment = cast(AttachmentStream, stream)
        name = attachment.name or f"attachment-{stream.index}"
        self.container.add_attachment(
            name, attachment.mimetype or "application/octet-stream", attachment.data
        )

    def _attach_cover(self, stream: Stream) -> None:
        """Cover art, which Matroska keeps as an attachment."""
        codec = stream.codec_context.name if stream.codec_context is not None else ""
        if codec not in _PICTURE_TYPES:
            self._leave(stream, f"{codec or 'unknown'} is no picture format of Matroska attachments")
            return
        with open_input(self.url) as source:
            cover = next(
                (packet for packet in source.demux([source.streams[stream.index]]) if packet.size), None
            )
            if cover is not None:
                self.covers += 1
                self.container.add_attachment(*_PICTURE_TYPES[codec], bytes(cover))

    def _add_text(self, stream: Stream) -> SubtitleStream:
        target = self.container.add_stream(_TEXT_OF[self.name], time_base=TIME_BASE)
        assert isinstance(target, SubtitleStream)
        assert isinstance(stream, SubtitleStream)
        stream.codec_context.open(strict=False)
        target.codec_context.subtitle_header = stream.codec_context.subtitle_header
        return target

    def _encode(self, index: int, target: AudioStream) -> Iterator[Packet[Any]]:
        # From the time line's beginning on: sound may begin before the first picture.
        zero = self.cut.origin
        # A track whose sound lies before it altogether is one without packets (`settle`).
        with contextlib.suppress(NoAudioError):
            if target.codec_context.channels > 2:
                blocks: Iterator[np.ndarray] = (
                    block for block, _ in audio_blocks(self.url, RATE, index=index, zero=zero)
                )
            else:
                blocks = levelling(self.url, index=index).blocks(self.url, RATE, index, zero)
            yield from aac_packets(target, blocks, Fraction(0), self.cut.sound_end)

    def _copied(self) -> Iterator[Packet[Any]]:
        wanted = {*self._copies, *self._texts}
        for stream in self.source.streams:
            stream.discard = Discard.default if stream.index in wanted else Discard.all
        following: dict[int, int] = {}
        written: dict[int, int] = {}
        clocks = {index: Rejoiner(self.cut.joins) for index in wanted}
        shown = {index: Shown(self.name != "matroska") for index in self._copies}
        streams = [s for s in self.source.streams if s.index in wanted]
        for packet in _dated(packets(self.source, streams, self.url)):
            if not packet.size:
                continue
            index = packet.stream_index
            time = packet.dts if packet.dts is not None else packet.pts
            later = 0 if time is None else clocks[index].offset(time * packet.time_base)
            _place(packet, round((self.cut.origin - later) / packet.time_base), following.get(index, 0))
            following[index] = (packet.dts or 0) + (packet.duration or 0)
            if self._beyond(packet):
                continue
            if index in self._texts:
                yield from self._texts[index].add(packet)
            elif shown[index].keep(packet):
                copy = self._copies[index]
                rate = copy.codec_context.sample_rate if isinstance(copy, AudioStream) else 0
                _ascend(packet, written, Fraction(1, rate) if rate else Fraction(0))
                packet.stream = copy
                yield packet
        for text in self._texts.values():
            yield from text.rest(self.cut.end)

    def _beyond(self, packet: Packet[Any]) -> bool:
        """True if a packet begins at the output's end or later; a subtitle that lasts beyond the end is
        shortened.
        """
        assert packet.pts is not None
        if packet.stream.disposition & Disposition.attached_pic:
            return False
        begins = packet.pts * packet.time_base
        if packet.stream.type != "subtitle":
            return begins >= self.cut.sound_end
        if packet.duration and begins < self.cut.end:
            packet.duration = min(packet.duration, int((self.cut.end - begins) / packet.time_base))
        return begins >= self.cut.end


def _copy(container: OutputContainer, stream: Stream, name: str) -> Stream:
    """Add a stream for the packets of another one. MP4 holds no PCM whose channels have no names: they get the usual ones."""
    copy = container.add_stream_from_template(stream, opaque=True)
    if isinstance(copy, AudioStream) and name == "mp4":
        usual = USUAL_LAYOUTS.get(copy.codec_context.layout.name)
        if usual is not None:
            copy.codec_context.layout = usual
    if isinstance(copy, VideoStream) and isinstance(stream, VideoStream) and stream.sample_aspect_ratio:
        copy.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio
    return copy


def refusal(stream: Stream, name: str) -> str:
    """Reason why a container format cannot hold a copy of a stream; empty where it can.

    Found by writing a header with this stream alone: FFmpeg's tables of codecs know less than its muxers.
    """
    if name != "matroska" and isinstance(stream, AudioStream) and has_unusual_channels(stream):
        return "there FLAC has no names of channels"
    try:
        with av.open(io.BytesIO(), "w", format=name) as trial:
            copy = _copy(trial, stream, name)
            copy.disposition = stream.disposition
            trial.start_encoding()
            if isinstance(copy, AudioStream) and copy.codec_context.name.startswith("pcm_"):
                # What MP4 says of PCM is written at the end.
                packet: Packet[Any] = Packet(bytes(8 * copy.codec_context.channels))
                packet.pts = packet.dts = 0
                packet.time_base, packet.stream = Fraction(1, 1000), copy
                trial.mux(packet)
    except av.error.FFmpegError as error:
        return describe(error)
    except ValueError as error:
        return str(error)
    return ""


def _label(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    return f"{stream.type} track {stream.index} ({', '.join(filter(None, [codec, stream.language]))})"


def _dated(packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Packets with decoding times: Matroska stores none, and FFmpeg gives none to the first of pictures that are reordered."""
    held: dict[int, list[Packet[Any]]] = {}
    begun: set[int] = set()
    for packet in packets:
        index = packet.stream_index
        if packet.stream.type == "video" and packet.size and index not in begun:
            waiting = held.setdefault(index, [])
            if packet.dts is None and len(waiting) < LONGEST_REORDERING:
                waiting.append(packet)
                continue
            for places, one in enumerate(reversed(waiting), 1):
                if packet.dts is not None and one.pts is not None:
                    one.dts = min(one.pts, packet.dts - places * (packet.duration or 1))
            begun.add(index)
            yield from held.pop(index)
        yield packet
    for waiting in held.values():
        yield from waiting


def _place(packet: Packet[Any], shift: int, following: int) -> None:
    """Move a packet's times by ``-shift``; one without times follows the packet before it."""
    dts = packet.dts if packet.dts is not None else packet.pts
    pts = packet.pts if packet.pts is not None else packet.dts
    packet.dts = dts - shift if dts is not None else following
    packet.pts = pts - shift if pts is not None else following


def _ascend(packet: Packet[Any], written: dict[int, int], least: Fraction) -> None:
    """Give a packet a decoding time after its predecessor's: muxers refuse what broken and joined recordings hold.

    Args:
        packet: the next of its stream.
        written: decoding times of the last packets, by stream.
        least: seconds by which times must differ in the output.
    """
    assert packet.dts is not None
    assert packet.pts is not None
    last = written.get(packet.stream_index)
    if last is not None and packet.dts < last + max(1, math.ceil(least / packet.time_base)):
        packet.dts = last + max(1, math.ceil(STEP / packet.time_base))
        packet.pts = max(packet.pts, packet.dts)
    written[packet.stream_index] = packet.dts


def copy_chapters(
    source: InputContainer, container: OutputContainer, cut: Cut
) -> list[tuple[Fraction, Fraction]]:
    """Copy chapters that begin before the output's end, shortened to it; returns the seconds from and to which each goes."""
    kept: list[Any] = []
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        shift = round(cut.origin / base)
        start, end = chapter["start"] - shift, min(chapter["end"] - shift, int(cut.end / base))
        if start * base < cut.end:
            kept.append({**chapter, "start": start, "end": end, "time_base": base})
    container.set_chapters(kept)
    return [(one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in kept]
