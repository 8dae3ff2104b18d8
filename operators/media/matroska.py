"""Properties of pictures in Matroska files (RFC 9559, 5.1.4.1.28) that PyAV neither reads nor writes.

Where chroma samples lie is read from a header that is written for a stream. The shape of pixels is put into a
finished file: the muxer leaves room between the list of elements and the tracks: what stands between that room and the new
elements moves into it, everything behind them keeps its place.
"""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.video.stream import VideoStream

from operators.storage.files import filesystem

#: Element identifiers.
_SEGMENT, _SEEK_HEAD, _VOID, _INFO, _TRACKS, _CLUSTER = (
    *(0x18538067, 0x114D9B74, 0xEC, 0x1549A966, 0x1654AE6B),
    0x1F43B675,
)
_ENTRY, _VIDEO, _SEEK, _SEEK_POSITION, _CRC = 0xAE, 0xE0, 0x4DBB, 0x53AC, 0xBF
_COLOUR, _SITING = 0x55B0, (0x55B7, 0x55B8)
#: H.273's places of chroma samples by Matroska's horizontal and vertical siting.
_LOCATIONS = {(1, 2): 0, (2, 2): 1, (1, 1): 2, (2, 1): 3, (1, 3): 4, (2, 3): 5}
_DISPLAY, _DISPLAY_UNIT = ((0x54B0, 2), (0x54BA, 2)), 0x54B2
#: How a file begins, and bytes in which the heads of its first two elements are.
_EBML, _HEADS = b"\x1a\x45\xdf\xa3", 256
#: Bytes at the file's beginning that hold the tracks.
_REACH = 1 << 20


@dataclasses.dataclass(frozen=True)
class _Element:
    """An element: its identifier, and places in the file of itself, its content and its end."""

    kind: int
    at: int
    content: int
    end: int


def chroma_location(stream: VideoStream) -> int:
    """H.273's number of the place of a stream's chroma samples; 0, left, where it says nothing."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="matroska") as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return 0
    data = bytearray(file.getvalue())
    element: _Element | None = _Element(0, 0, 0, len(data))
    for kind in (_SEGMENT, _TRACKS, _ENTRY, _VIDEO, _COLOUR):
        element = _find(data, element.content, min(element.end, len(data)), kind) if element else None
    if element is None:
        return 0
    found = (_find(data, element.content, element.end, kind) for kind in _SITING)
    horizontal, vertical = (int.from_bytes(data[e.content : e.end], "big") if e else 0 for e in found)
    return _LOCATIONS.get((horizontal, vertical), 0)


def is_joined(url: str) -> bool:
    """True if another file follows the first in a Matroska file, as `cat` puts them together; False where that cannot be told."""
    fs, path = filesystem(url)
    try:
        data = bytearray(fs.cat_file(path, start=0, end=_HEADS))
        size, content = _number(data, len(_EBML), keep_marker=False)
        begin = content + size
        size, content = _number(data, begin + 4, keep_marker=False)
        if content > len(data) or data[begin : begin + 4] != _identifier(_SEGMENT):
            return False
        end = content + size
        if end + 4 > (fs.size(path) or 0):  # also where the size is unknown, as of live recordings
            return False
        return bool(fs.cat_file(path, start=end, end=end + 4) == _EBML)
    except (OSError, ValueError, NotImplementedError):
        return (
            False  # such as a web server without ranges; who reads the file next says what is wrong with it
        )


def set_display_size(path: Path, width: int, height: int, shape: Fraction) -> bool:
    """Write the size at which the first track's pictures are shown; False where the file has no room for it.

    Args:
        path: of a finished file.
        width, height: of the coded picture.
        shape: width of a pixel divided by its height.
    """
    with path.open("r+b") as file:
        data = bytearray(file.read(_REACH))
        patched = _patched(data, width, height, shape)
        if patched is None:
            return False
        file.seek(0)
        file.write(patched)
    return True


def _patched(data: bytearray, width: int, height: int, shape: Fraction) -> bytearray | None:
    size = max(1, round(width * shape)), height
    extra = b"".join(
        kind.to_bytes(2, "big") + bytes([0x80 | length]) + value.to_bytes(length, "big")
        for (kind, length), value in zip(_DISPLAY, size, strict=True)
        if value < 1 << 16
    )
    segment = _find(data, 0, len(data), _SEGMENT)
    if segment is None or len(extra) != 10:
        return None
    top = {element.kind: element for element in _elements(data, segment.content, len(data))}
    if not {_SEEK_HEAD, _VOID, _INFO, _TRACKS} <= top.keys():
        return None
    room, tracks = top[_VOID], top[_TRACKS]
    entry = _find(data, tracks.content, tracks.end, _ENTRY)
    video = _find(data, entry.content, entry.end, _VIDEO) if entry else None
    if video is None or entry is None or tracks.end > len(data) or not room.end <= top[_INFO].at < tracks.at:
        return None
    unit = _find(data, video.content, video.end, _DISPLAY_UNIT)
    if unit is not None:
        # The muxer has written that the size is unknown; 0 says that it is in pixels.
        data[unit.content : unit.end] = bytes(unit.end - unit.content)
    growth, parts, end = len(extra), [extra], video.end
    for element in (video, entry, tracks):
        parts = [_head(element, growth), bytes(data[element.content : end]), *parts]
        growth += len(parts[0]) - (element.content - element.at)
        end = element.at
    head = len(parts[0])
    # Nine bytes are the room's own head.
    if room.end - room.at < growth + 9:
        return None
    parts = [_void(room.end - room.at - growth), bytes(data[room.end : end]), *parts]
    data[room.at : video.end] = b"".join(parts)
    moved = {element.at - segment.content for element in top.values() if room.end <= element.at <= tracks.at}
    for seek in _elements(data, top[_SEEK_HEAD].content, top[_SEEK_HEAD].end):
        position = _find(data, seek.content, seek.end, _SEEK_POSITION) if seek.kind == _SEEK else None
        if position is not None:
            value = int.from_bytes(data[position.content : position.end], "big")
            if value in moved:
                new = (value - growth).to_bytes(position.end - position.content, "big")
                data[position.content : position.end] = new
    _check(data, top[_SEEK_HEAD].content, top[_SEEK_HEAD].end)
    _check(data, tracks.at - growth + head, tracks.end)
    return data


def _head(element: _Element, by: int) -> bytes:
    """Identifier and size of an element that gets larger by so many bytes."""
    identifier = _identifier(element.kind)
    length = element.content - element.at - len(identifier)
    size = element.end - element.content + by
    length += size >= (1 << 7 * length) - 1
    return identifier + (size | 1 << 7 * length).to_bytes(length, "big")


def _void(size: int) -> bytes:
    """An element of so many bytes, at least nine, that holds nothing."""
    return b"\xec" + (size - 9 | 1 << 56).to_bytes(8, "big") + bytes(size - 9)


def _check(data: bytearray, begin: int, end: int) -> None:
    """Renew the checksum with which an element may begin (RFC 8794, 11.3.1)."""
    if data[begin : begin + 2] == bytes([_CRC, 0x84]):
        data[begin + 2 : begin + 6] = zlib.crc32(data[begin + 6 : end]).to_bytes(4, "little")


def _identifier(kind: int) -> bytes:
    return kind.to_bytes(-(-kind.bit_length() // 8), "big")


def _find(data: bytearray, begin: int, end: int, kind: int) -> _Element | None:
    return next((element for element in _elements(data, begin, end) if element.kind == kind), None)


def _elements(data: bytearray, begin: int, end: int) -> Iterator[_Element]:
    """Elements one after the other, up to the first cluster."""
    while begin < end:
        kind, at = _number(data, begin, keep_marker=True)
        size, content = _number(data, at, keep_marker=False)
        if content > len(data) or kind == _CLUSTER:
            return
        yield _Element(kind, begin, content, content + size)
        begin = content + size


def _number(data: bytearray, at: int, keep_marker: bool) -> tuple[int, int]:
    """A number of variable size (RFC 8794, 4), and the place behind it."""
    length = 9 - data[at].bit_length() if at < len(data) else 9
    if length > 8:
        return 0, len(data) + 1
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), at + length
