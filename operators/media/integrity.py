"""Completeness of a file: the size that its container declares against its real size.

FFmpeg reads truncated files as far as they go, silently where the cut falls between two packets.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import av.container
from av.stream import Stream

from operators.media.outer_parts import Part, outer_boxes
from operators.media.transport import picture_pids
from operators.storage.errors import MediaError
from operators.storage.files import filesystem, fingerprint

#: Bytes at the end of a transport stream in which its tables are found: they come ten times a second.
TAIL = 1 << 20


def check_complete(url: str, container: av.container.InputContainer, stream: Stream) -> None:
    """Hold the container's own sizes against the file's.

    Args:
        url: of the file.
        container: opened.
        stream: the stream that is needed.

    Raises:
        MediaError: the file is shorter than it says; the message tells the time from which frames are missing
            where the index does. Or the pictures of a transport stream go on in another one.
    """
    name = container.format.name
    _, size, _ = fingerprint(url)
    if size < 0:  # its server does not say
        fs, path = filesystem(url)
        with fs.open(path, "rb") as file:
            size = file.seek(0, io.SEEK_END)
    if name.startswith("mov,mp4"):
        beyond = [entry.timestamp for entry in stream.index_entries if entry.pos + entry.size > size]
        if beyond:
            time = float(min(beyond) * stream.time_base) if stream.time_base else 0.0
            share = f"{len(beyond)} of {len(stream.index_entries)} packets"
            raise MediaError(
                f"{url}: truncated, the {stream.type} is missing from {time:.3f} s on ({share}); copy the file again"
            )
        readers = _iso_end if not len(stream.index_entries) else None
        if stream.frames < len(stream.index_entries):  # in fragments: the header counts no frames of theirs
            readers = _fragments_end
    elif name == "mpegts" and stream.type == "video":
        _check_programme(url, stream.id, size)
        return
    else:
        readers = {"matroska,webm": _ebml_end, "avi": _riff_end}.get(name)
    if readers is None:
        return
    fs, path = filesystem(url)
    with fs.open(path, "rb") as file:
        end = readers(file, size)
    if end is not None and end > size:
        raise MediaError(f"{url}: truncated, the file should have {end} bytes and has {size}; copy it again")


def _check_programme(url: str, pid: int, size: int) -> None:
    """Refuse a transport stream whose picture goes on under another PID: FFmpeg takes that for one beside the first, or, in a
    long file, never sees it.
    """
    fs, path = filesystem(url)
    with fs.open(path, "rb") as file:
        file.seek(max(0, size - TAIL))
        there = picture_pids(file.read(TAIL))
    if there and pid not in there:
        last = ", ".join(f"0x{other:x}" for other in sorted(there))
        raise MediaError(
            f"{url}: its picture begins as PID 0x{pid:x}, and the end of the file has {last} in its place: it was joined from "
            "recordings with other PIDs; remux each of them to the same, or dub them one by one"
        )


def _iso_end(file: BinaryIO, size: int) -> int | None:
    """End of the last box of an ISO base media file."""
    del size
    boxes = list(outer_boxes(file))
    return _end(boxes[-1]) if boxes else None


def _fragments_end(file: BinaryIO, size: int) -> int | None:
    """End of the last box of a file in fragments: its index tells only of those that have been read. None of any other file, and
    where the last box holds no samples.
    """
    del size
    boxes = list(outer_boxes(file))
    fragments = any(box.kind == b"moof" for box in boxes)
    return _end(boxes[-1]) if fragments and boxes[-1].kind in (b"moof", b"mdat") else None


def _end(box: Part) -> int | None:
    """Place behind a box; None of one that does not tell its length."""
    return None if box.size < 0 else box.content + box.size


def _ebml_end(file: BinaryIO, size: int) -> int | None:
    """End of the segment of a Matroska file (RFC 8794, 4 and 5; RFC 9559, 5.1), None where its size is
    unknown.
    """
    del size
    start = file.read(64 << 10)
    position = 0
    for wanted in (0x1A45DFA3, 0x18538067):
        identifier, position, _ = _vint(start, position, keep_marker=True)
        length, position, unknown = _vint(start, position, keep_marker=False)
        if identifier != wanted or unknown:
            return None
        position += length
    return position


def _vint(data: bytes, position: int, keep_marker: bool) -> tuple[int, int, bool]:
    """A variable-size integer: value, position after it, and whether all its bits are set (unknown)."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    if length > 8:
        return 0, position, True
    value = int.from_bytes(data[position : position + length], "big")
    mask = (1 << (7 * length)) - 1
    return (value if keep_marker else value & mask), position + length, value & mask == mask


def _riff_end(file: BinaryIO, size: int) -> int | None:
    """End of the last RIFF chunk of an AVI file."""
    position = 0
    while position + 12 <= size:
        file.seek(position)
        header = file.read(12)
        if header[:4] != b"RIFF":
            break
        length = struct.unpack("<I", header[4:8])[0]
        if not length:
            return None
        position += 8 + length + (length & 1)
    return position or None
