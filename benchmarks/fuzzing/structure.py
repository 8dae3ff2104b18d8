"""Where the numbers of a container stand: sizes, and what headers say of time, size and count.

A map of an undamaged file, for mutations that get past the first look of a demuxer. It is no parser: what it does not
know it leaves out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A number in a file.

    Attributes:
        kind: ``size`` of a box, element, chunk or packet; ``header`` for anything else that a header says.
        at: first byte.
        length: bytes.
        little: the byte order.
        name: for people.
    """

    kind: str
    at: int
    length: int
    little: bool = False
    name: str = ""


@dataclass(frozen=True)
class Structure:
    """Numbers of a file, and its parts: boxes, elements, packets or pages, as first byte and end."""

    fields: list[Field]
    parts: list[tuple[int, int]]


def structure(data: bytes, suffix: str) -> Structure:
    """Map a file by its suffix."""
    fields: list[Field] = []
    parts: list[tuple[int, int]] = []
    for found in _WALKERS[suffix](data):
        if isinstance(found, Field):
            fields.append(found)
        else:
            parts.append(found)
    return Structure(
        [f for f in fields if f.length and f.at + f.length <= len(data)],
        [(a, min(b, len(data))) for a, b in parts if a < b and a < len(data)],
    )


Found = Iterator[Field | tuple[int, int]]

_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"moof", b"traf", b"mvex", b"dinf"}


def _iso(data: bytes, start: int = 0, stop: int | None = None) -> Found:
    """Boxes (ISO/IEC 14496-12). Contents of small boxes are numbers of four bytes, as far as we care."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        size, name = struct.unpack(">I", data[start : start + 4])[0], data[start + 4 : start + 8]
        end = start + size
        if size < 8 or end > stop:
            return
        text = name.decode("latin-1")
        yield Field("size", start, 4, name=text)
        yield start, end
        if name in _BOXES:
            yield from _iso(data, start + 8, end)
        elif name == b"stsd":
            yield Field("header", start + 12, 4, name="stsd count")
            for at, _ in _inner(data, start + 16, end):
                yield Field("size", at, 4, name="sample entry")
                for offset, length in (
                    (16, 2),
                    (24, 2),
                    (32, 4),
                    (34, 2),
                    (40, 4),
                    (74, 2),
                    (82, 4),
                    (86, 4),
                ):
                    yield Field("header", at + offset, length, name="sample entry")
        elif name not in (b"mdat", b"free", b"skip"):
            for at in range(start + 8, min(end, start + 8 + 256) - 3, 4):
                yield Field("header", at, 4, name=text)
        start = end


def _inner(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    while start + 8 <= stop:
        size = struct.unpack(">I", data[start : start + 4])[0]
        if size < 8:
            return
        yield start, start + size
        start += size


#: Elements that hold others (RFC 9559): segment, seek head, info, tracks, track, video, audio, cluster, cues, tags, block group.
_MASTERS = {0x18538067, 0x114D9B74, 0x4DBB, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0x1C53BB6B}
_MASTERS |= {0xBB, 0xB7, 0xA0, 0x1254C367, 0x7373, 0x67C8, 0x1A45DFA3}
_BLOCKS = {0xA3, 0xA1}


def _ebml(data: bytes, start: int = 0, stop: int | None = None) -> Found:
    """Elements (RFC 8794)."""
    stop = len(data) if stop is None else stop
    while start + 2 <= stop:
        wide = 9 - data[start].bit_length()
        name = int.from_bytes(data[start : start + wide], "big")
        at = start + wide
        if wide > 4 or at >= stop:
            return
        length = 9 - data[at].bit_length()
        if length > 8:
            return
        size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        body, end = at + length, at + length + size
        if size == (1 << 7 * length) - 1:
            end = stop
        if end > stop:
            return
        yield Field("size", at, length, name=f"{name:x}")
        yield start, end
        if name in _MASTERS:
            yield from _ebml(data, body, end)
        elif name in _BLOCKS:
            yield Field("header", body, 1, name="block track")
            yield Field("header", body + 1, 2, name="block time")
            yield Field("header", body + 3, 1, name="block flags")
        elif size <= 8:
            yield Field("header", body, size, name=f"{name:x}")
        else:
            for at in range(body, min(end, body + 64)):
                yield Field("header", at, 1, name=f"{name:x}")
        start = end


def _riff(data: bytes, start: int = 0, stop: int | None = None) -> Found:
    """Chunks of AVI and WAV."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        name, size = data[start : start + 4], struct.unpack("<I", data[start + 4 : start + 8])[0]
        body, end = start + 8, start + 8 + size
        if end > stop + 1:
            return
        text = name.decode("latin-1")
        yield Field("size", start + 4, 4, True, text)
        yield start, end
        if name in (b"RIFF", b"LIST"):
            yield from _riff(data, body + 4, end)
        elif name in (b"avih", b"strh", b"strf", b"fmt ", b"idx1", b"indx", b"fact", b"vprp", b"dmlh"):
            for at in range(body, min(end, body + 256) - 1, 2):
                yield Field("header", at, 4 if at % 4 == body % 4 else 2, True, text)
        start = end + (size & 1)


def _ts(data: bytes) -> Found:
    """Packets of 188 bytes with their first bytes, clocks, and the headers of what begins in them (ISO/IEC 13818-1)."""
    for start in range(0, len(data) - 187, 188):
        yield start, start + 188
        yield Field("header", start + 1, 2, name="pid")
        yield Field("header", start + 3, 1, name="counter")
        body = start + 4
        if data[start + 3] & 0x20:
            yield Field("size", body, 1, name="adaptation length")
            yield Field("header", body + 1, 1, name="adaptation flags")
            yield Field("header", body + 2, 6, name="clock")
            body += 1 + data[body]
        if data[start + 1] & 0x40:
            yield Field("size", body + 1, 2, name="section length")
            yield Field("size", body + 4, 2, name="packet length")
            for offset in range(3, 24):
                yield Field("header", body + offset, 1, name="table or PES header")


def _flv(data: bytes) -> Found:
    """Tags, and the numbers of the first one, which is the metadata."""
    yield Field("header", 4, 1, name="flags")
    yield Field("size", 5, 4, name="header size")
    start = 13
    while start + 15 <= len(data):
        size = int.from_bytes(data[start + 1 : start + 4], "big")
        yield start, start + 15 + size
        yield Field("header", start, 1, name="tag type")
        yield Field("size", start + 1, 3, name="tag size")
        yield Field("header", start + 4, 4, name="time")
        yield Field("header", start + 11, 5, name="codec")
        yield Field("size", start + 11 + size, 4, name="size of the tag before")
        if data[start] == 18:
            for at in range(start + 11, start + 11 + size - 8, 4):
                yield Field("header", at, 8, name="metadata")
        start += 15 + size


def _mxf(data: bytes, start: int = 0) -> Found:
    """Keys, lengths and values (SMPTE ST 377-1); local sets by their tags."""
    while start + 17 <= len(data):
        first = data[start + 16]
        wide = first & 0x7F if first & 0x80 else 0
        size = int.from_bytes(data[start + 17 : start + 17 + wide], "big") if wide else first
        body, end = start + 17 + wide, start + 17 + wide + size
        if end > len(data) or data[start : start + 4] != b"\x06\x0e\x2b\x34":
            return
        yield (
            Field("size", start + 17, wide, name="value")
            if wide
            else Field("size", start + 16, 1, name="value")
        )
        yield Field("header", start + 4, 8, name="key")
        yield start, end
        if data[start + 4 : start + 6] == b"\x02\x53":
            at = body
            while at + 4 <= end:
                length = struct.unpack(">H", data[at + 2 : at + 4])[0]
                yield Field("header", at, 2, name="tag")
                yield Field("size", at + 2, 2, name="local size")
                yield Field("header", at + 4, min(8, length), name="local value")
                at += 4 + length
        elif data[start + 4] == 2:
            for at in range(body, min(end, body + 96) - 3, 4):
                yield Field("header", at, 4, name="partition")
        start = end


def _asf(data: bytes, start: int = 0, stop: int | None = None) -> Found:
    """Objects, and the data packets behind them."""
    stop = len(data) if stop is None else stop
    packet = 3200
    while start + 24 <= stop:
        size = struct.unpack("<Q", data[start + 16 : start + 24])[0]
        end = start + size
        if size < 24 or end > stop:
            return
        yield Field("size", start + 16, 8, True, "object")
        yield start, end
        if data[start : start + 4] == b"\x30\x26\xb2\x75":  # the header
            yield Field("header", start + 24, 4, True, "objects")
            yield from _asf(data, start + 30, end)
        elif data[start : start + 4] == b"\x36\x26\xb2\x75":  # the data
            yield Field("header", start + 40, 8, True, "packets")
            for at in range(start + 50, end, packet):
                yield at, at + packet
                for offset in range(24):
                    yield Field("header", at + offset, 1, name="data packet")
        else:
            for at in range(start + 24, min(end, start + 24 + 160) - 3, 2):
                yield Field("header", at, 4, True, "object")
        start = end


def _ogg(data: bytes) -> Found:
    """Pages (RFC 3533). `mutations.repaired` gives them a true checksum afterwards."""
    start = 0
    while data[start : start + 4] == b"OggS":
        segments = data[start + 26]
        end = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        yield start, end
        yield Field("header", start + 5, 1, name="page flags")
        yield Field("header", start + 6, 8, True, "granule position")
        yield Field("header", start + 14, 4, True, "serial")
        yield Field("header", start + 18, 4, True, "sequence")
        yield Field("size", start + 26, 1, name="segments")
        for at in range(start + 27, min(start + 27 + segments, start + 31)):
            yield Field("size", at, 1, name="lacing")
        for at in range(start + 27 + segments, min(end, start + 27 + segments + 48)):
            yield Field("header", at, 1, name="beginning of the page")
        start = end


def _mpeg(data: bytes) -> Found:
    """Start codes of packs, packets and pictures (ISO/IEC 13818-1 and -2)."""
    start = data.find(b"\0\0\1")
    while start >= 0:
        after = data.find(b"\0\0\1", start + 3)
        code = data[start + 3] if start + 3 < len(data) else 0
        yield start, after if after > 0 else len(data)
        if code >= 0xBB:
            yield Field("size", start + 4, 2, name="packet length")
        yield Field("header", start + 3, 1, name="start code")
        for offset in range(4, 14):
            yield Field("header", start + offset, 1, name=f"behind start code {code:x}")
        start = after


def _flac(data: bytes) -> Found:
    """Metadata blocks, and the beginnings of frames."""
    start = 4
    while start + 4 <= len(data):
        size = int.from_bytes(data[start + 1 : start + 4], "big")
        yield Field("size", start + 1, 3, name="metadata block")
        yield Field("header", start, 1, name="block type")
        yield start, start + 4 + size
        for at in range(start + 4, start + 4 + min(size, 34)):
            yield Field("header", at, 1, name="stream info")
        if data[start] & 0x80:
            break
        start += 4 + size
    at = data.find(b"\xff\xf8", start)
    while at >= 0:
        after = data.find(b"\xff\xf8", at + 2)
        yield at, after if after > 0 else len(data)
        for offset in range(2, 8):
            yield Field("header", at + offset, 1, name="frame header")
        at = after


def _mp3(data: bytes) -> Found:
    """The tag in front, and frames by their synchronisation."""
    if data[:3] == b"ID3":
        yield Field("size", 6, 4, name="tag")
        for at in range(10, 40):
            yield Field("header", at, 1, name="tag")
    at = data.find(b"\xff\xfb")
    while at >= 0:
        after = data.find(b"\xff\xfb", at + 4)
        yield at, after if after > 0 else len(data)
        for offset in range(1, 12):
            yield Field("header", at + offset, 1, name="frame header")
        at = after


_WALKERS: dict[str, Callable[[bytes], Found]] = {
    **dict.fromkeys((".mp4", ".mov", ".3gp", ".m4a"), _iso),
    **dict.fromkeys((".mkv", ".webm"), _ebml),
    **dict.fromkeys((".avi", ".wav"), _riff),
    **dict.fromkeys((".ogv", ".ogg"), _ogg),
    ".ts": _ts,
    ".flv": _flv,
    ".mxf": _mxf,
    ".wmv": _asf,
    ".mpg": _mpeg,
    ".flac": _flac,
    ".mp3": _mp3,
}
