"""Outputs without their signatures: two runs give the same bytes but for the C2PA box, in which salts and signature are new each time."""

from __future__ import annotations

import io
from pathlib import Path

#: Type of the MP4 box that holds a manifest.
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def without_signature(path: Path) -> bytes:
    """The content of a file without its C2PA box. Of two files with manifests of the same length the rest is equal if their pictures,
    sound and metadata are; other containers have no such box.
    """
    return without_box(path.read_bytes())


def without_box(content: bytes) -> bytes:
    """The content of an MP4 file without its C2PA box, its samples where they lie without it."""
    if content[4:8] != b"ftyp":
        return content
    file, kept, moved = io.BytesIO(content), b"", 0
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(content[file.tell() : file.tell() + 8], "big")
        assert size >= 8, "boxes that go to the end of a file are not written here"
        box = head + file.read(size - 8)
        if head[4:] == b"uuid" and box[8:24] == C2PA_BOX:
            moved = len(box)
        elif head[4:] == b"moov":
            kept += earlier(box, moved)
        else:
            kept += box
    return kept + head


def earlier(contents: bytes, bytes_: int) -> bytes:
    """A table of contents whose samples lie so many bytes earlier."""
    made = bytearray(contents)
    for kind, length in ((b"stco", 4), (b"co64", 8)):
        place = contents.find(kind)
        while place >= 0:
            first = place + 12
            count = int.from_bytes(contents[place + 8 : first], "big")
            for at in range(first, first + count * length, length):
                value = int.from_bytes(contents[at : at + length], "big") - bytes_
                made[at : at + length] = value.to_bytes(length, "big")
            place = contents.find(kind, place + 4)
    return bytes(made)
