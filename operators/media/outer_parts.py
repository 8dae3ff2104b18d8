"""Outermost parts of container files, found by their headers alone: boxes of MP4 and QuickTime, chunks of RIFF, AIFF and CAF."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple


class Part(NamedTuple):
    """A part of a file.

    Attributes:
        kind: its four letters.
        begin: place of its header, in bytes.
        content: place of what follows the header.
        size: bytes of its content; of boxes below 0, of chunks beyond the file: to its end, or damaged.
    """

    kind: bytes
    begin: int
    content: int
    size: int


def outer_boxes(file: BinaryIO) -> Iterator[Part]:
    """Give the boxes of an MP4 or QuickTime file; nothing follows one that goes to the end of the file."""
    begin, end = 0, file.seek(0, io.SEEK_END)
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        size, header = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:], "big"), 16
        yield Part(head[4:8], begin, begin + header, size - header)
        if size < header:
            return
        begin += size


def outer_chunks(
    file: BinaryIO, begin: int, order: Literal["big", "little"], length: int = 4, padded: bool = True
) -> Iterator[Part]:
    """Give the chunks of a RIFF, AIFF or CAF file.

    Args:
        file: to read.
        begin: place of the first one.
        order: of the bytes of a size.
        length: bytes of a size.
        padded: chunks of an odd size have one byte more.
    """
    end = file.seek(0, io.SEEK_END)
    while begin + 4 + length <= end:
        file.seek(begin)
        head = file.read(4 + length)
        size = int.from_bytes(head[4:], order)
        content = begin + 4 + length
        yield Part(head[:4], begin, content, size)
        begin = content + size + (size % 2 if padded else 0)
