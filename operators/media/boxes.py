"""Boxes of ISO base media files (ISO/IEC 14496-12) that describe a picture and that PyAV neither reads nor
writes: projection, stereo, cropping.

A stream's description is taken out of an MP4 header that is written for it, and put into the header of
another stream, which is then used as a template: FFmpeg's demuxer turns boxes into side data, its muxers turn
side data into what their container has for it.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.packet import Packet
from av.video.stream import VideoStream

from operators.media.outer_parts import outer_boxes

#: Boxes that are carried: projection (sv3d) and stereo (st3d) by Google's Spherical Video V2, stereo by Apple
#: (vexu), clean aperture (clap), ambient viewing environment (amve), HDR (mdcv, clli).
CARRIED = ("sv3d", "st3d", "vexu", "clap", "amve", "mdcv", "clli")
#: Way to the description of the first track, each with the bytes in front of the boxes that it holds.
_WAY = (("moov", 0), ("trak", 0), ("mdia", 0), ("minf", 0), ("stbl", 0), ("stsd", 8))
#: Matroska's element CodecID with its content.
_VP8, _VP9 = b"\x86\x85V_VP8", b"\x86\x85V_VP9"
#: Bytes of Apple's box of two views that says no more than which views there are.
_ONLY_EYES = 21
#: Bytes of a visual sample entry in front of its boxes.
_ENTRY = 78
#: Place of the last byte of a track header's flags, whose lowest bit is "enabled".
_FLAGS = 11
#: Muxer options without which sv3d and st3d are not written.
UNOFFICIAL = {"strict": "unofficial"}


def described(stream: VideoStream) -> list[bytes]:
    """The boxes of `CARRIED` that an MP4 header of this stream holds; none for a codec that has no place in
    MP4 or QuickTime files, but for VP8.
    """
    if stream.codec_context.name == "vp8":
        with _as_vp9(stream) as twin:
            return described(twin)
    for name in ("mp4", "mov"):
        try:
            data = _header(stream, name)
        except (av.error.FFmpegError, ValueError):
            continue
        *_, (begin, end) = _way(data)
        found = [
            data[at : at + size]
            for kind, at, size in _boxes(data, begin + 8 + _ENTRY, end)
            if kind in CARRIED and not (kind == "clap" and _is_whole(data[at : at + size], stream))
        ]
        return _unambiguous(found)
    return []


def _unambiguous(boxes: list[bytes]) -> list[bytes]:
    """Boxes without Apple's, where that one only repeats Google's: FFmpeg reads it last, and forgets what it does not
    repeat, the pose and the arrangement.
    """
    kinds = {box[4:8].decode() for box in boxes}

    def repeats(vexu: bytes) -> bool:
        return all(_repeated(kind, size, kinds) for kind, _, size in _boxes(vexu, 8, len(vexu)))

    return [box for box in boxes if box[4:8] != b"vexu" or not repeats(box)]


def _repeated(kind: str, size: int, kinds: Set[str]) -> bool:
    """True for a box in Apple's that says no more than Google's, of which there are these."""
    return (kind == "proj" and "sv3d" in kinds) or (kind == "eyes" and "st3d" in kinds and size == _ONLY_EYES)


def has_pose(boxes: Sequence[bytes]) -> bool:
    """True if boxes turn the projection of a picture."""
    places = [(box, box.find(b"prhd")) for box in boxes if box[4:8] == b"sv3d"]
    return any(at > 0 and any(box[at + 8 : at + 20]) for box, at in places)


def hide_repetitions(path: Path) -> None:
    """Make what Apple's box repeats of Google's in the first track of an MP4 file free space, so that FFmpeg reads pose and
    arrangement, which only Google's tell. QuickTime files have Apple's alone.
    """
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        *_, (begin, end) = _way(data)
        boxes = list(_boxes(data, begin + 8 + _ENTRY, end))
        kinds = {kind for kind, _, _ in boxes}
        for kind, at, size in boxes:
            for inner, place, length in _boxes(data, at + 8, at + size) if kind == "vexu" else ():
                if _repeated(inner, length, kinds):
                    data[place + 4 : place + 8] = b"free"


def switch_off(path: Path, tracks: Set[int]) -> None:
    """Clear the flag "enabled" of tracks of an MP4 or QuickTime file, by their numbers. FFmpeg's muxer sets it for the first track of
    a kind that has none, and players then show subtitles that nobody chose.
    """
    with open(path, "r+b") as file:
        moov = next(part for part in outer_boxes(file) if part.kind == b"moov")
        file.seek(moov.content)
        data = file.read(moov.size)
        found = [(at, size) for kind, at, size in _boxes(data, 0, len(data)) if kind == "trak"]
        for number, (at, size) in enumerate(found):
            header = next(place for kind, place, _ in _boxes(data, at + 8, at + size) if kind == "tkhd")
            if number in tracks:
                file.seek(moov.content + header + _FLAGS)
                file.write(bytes([data[header + _FLAGS] & ~1]))


def _is_whole(clap: bytes, stream: VideoStream) -> bool:
    """True for a clean aperture that crops nothing: FFmpeg writes one for uncompressed pictures."""
    width, across, height, down, left, _, top, _ = struct.unpack(">4I4i", clap[8:40])[:8]
    return (width, height, left, top) == (stream.width * across, stream.height * down, 0, 0)


def box_kinds(stream: VideoStream) -> frozenset[str]:
    """Kinds of `described`; stereo, for which there are two boxes, under the name of one; "pose" where `has_pose`."""
    boxes = described(stream)
    # Apple's box repeats the projection too; "eyes" are two views.
    stereo = any(box[4:8] == b"vexu" and b"eyes" in box for box in boxes)
    kinds = {box[4:8].decode() for box in boxes} - {"vexu"}
    turned = {"pose"} if has_pose(boxes) else set()
    return frozenset(kinds | turned | ({"st3d"} if stereo else set()))


def stereo_mode(boxes: Sequence[bytes]) -> str:
    """Matroska's word for the arrangement of two views that boxes describe; empty for a flat picture."""
    for box in boxes:
        if box[4:8] == b"st3d":
            return {1: "top_bottom", 2: "left_right"}.get(box[12], "")
        at = box.find(b"pkin")
        if box[4:8] == b"vexu" and at > 0:
            return {b"over": "top_bottom", b"side": "left_right"}.get(box[at + 8 : at + 12], "")
    return ""


@contextmanager
def template_with(stream: VideoStream, boxes: Sequence[bytes]) -> Iterator[VideoStream]:
    """A stream like another, that is described by further boxes too."""
    if not boxes:
        yield stream
        return
    try:
        data = _header(stream, "mp4")
    except (av.error.FFmpegError, ValueError):
        data = _header(stream, "mov")
    extra = b"".join(boxes)
    way = list(_way(data))
    patched = bytearray(data)
    for begin, _ in way:
        struct.pack_into(">I", patched, begin, struct.unpack_from(">I", data, begin)[0] + len(extra))
    end = way[-1][1]
    patched[end:end] = extra
    with av.open(io.BytesIO(bytes(patched))) as container:
        yield container.streams.video[0]


@contextmanager
def _as_vp9(stream: VideoStream) -> Iterator[VideoStream]:
    """A stream of VP8 under the name of VP9, which has a place in MP4 files."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        copy = container.add_stream_from_template(stream, opaque=True)
        packet: Packet[Any] = Packet(bytes(8))  # the demuxer takes no file without one
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream = Fraction(1, 1000), copy
        container.mux(packet)
    with av.open(io.BytesIO(file.getvalue().replace(_VP8, _VP9))) as twin:
        yield twin.streams.video[0]


def _header(stream: VideoStream, name: str) -> bytes:
    """A file that describes a stream and holds no packet of it."""
    file = io.BytesIO()
    with av.open(
        file, "w", format=name, container_options={**UNOFFICIAL, "movflags": "empty_moov"}
    ) as container:
        container.add_stream_from_template(stream, opaque=True)
        container.start_encoding()
    return file.getvalue()


def _way(data: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """Begin and end of each box on the way to the first sample entry, and of that entry."""
    begin, end = 0, len(data)
    for wanted, skipped in _WAY:
        at, size = next((at, size) for kind, at, size in _boxes(data, begin, end) if kind == wanted)
        yield at, at + size
        begin, end = at + 8 + skipped, at + size
    _, at, size = next(_boxes(data, begin, end))
    yield at, at + size


def _boxes(data: bytes | mmap.mmap, begin: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Kind, place and size of each box."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        if size == 1:
            size = struct.unpack_from(">Q", data, begin + 8)[0]
        if size < 8:
            return
        yield kind.decode("latin-1"), begin, size
        begin += size
