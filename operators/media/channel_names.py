"""Orders of channels that PyAV cannot read, and files without the boxes that say them.

PyAV up to 18.1 copies the description of a stream's channels without the table that belongs to it where their order is
not FFmpeg's own, and both owners free it: opening such a file, or reading a frame of it, ends the process. QuickTime,
CAF and AIFF name the channels in a box; without it they have numbers and no names, and can be read.
"""

from __future__ import annotations

import ctypes
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import av.container

from operators.storage.files import filesystem

#: How FFmpeg describes an order of its own kind: the names of the channels one by one.
_FOREIGN = re.compile(r"\d+ channels? \(")
#: The box with its version, inside the table of contents of a QuickTime file.
_BOX = re.compile(rb"chan\0\0\0\0", re.DOTALL)
#: The name that an unwanted box is given: readers skip it.
_SKIPPED = b"free"
#: Bytes of a table of contents that are looked through at most.
_CONTENTS = 1 << 28


def foreign_order(container: av.container.InputContainer) -> str:
    """Channels of the first sound whose order PyAV cannot read, e.g. ``8 channels (FL+FR+FC+LFE+SL+SR+BL+BR)``, or
    an empty string.

    To be asked before anything else is asked of the container's sounds, which then must be closed.
    """
    for stream in container.streams.audio:
        if stream.codec_context is None:
            continue
        layout = stream.layout
        # It must never be freed if its table has a second owner.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
        name = str(layout.name)
        if _FOREIGN.match(name):
            return name
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(layout))
    return ""


class WithoutNames(io.RawIOBase):
    """A media file whose boxes with names of channels are skipped by whoever reads it.

    Args:
        url: a local path or an fsspec URL.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        fs, path = filesystem(url)
        self._file: BinaryIO = fs.open(path, "rb")
        self._places = list(_places(self._file))
        self._file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        begin = self._file.tell()
        data = bytearray(self._file.read(len(buffer)))
        for place in self._places:
            for n in range(max(0, begin - place), min(len(_SKIPPED), begin + len(data) - place)):
                data[place + n - begin] = _SKIPPED[n]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _places(file: BinaryIO) -> Iterator[int]:
    """Where the names of such boxes stand in a QuickTime, CAF or AIFF file."""
    begin = file.seek(0)
    head = file.read(12)
    caf, aiff = head[:4] == b"caff", head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")
    begin = 8 if caf else 12 if aiff else 0
    while True:
        file.seek(begin)
        box = file.read(16)
        if len(box) < 8:
            return
        if caf or aiff:
            kind, size = box[:4], int.from_bytes(box[4 : 12 if caf else 8], "big")
            if kind in (b"chan", b"CHAN"):
                yield begin
            begin += (12 + size) if caf else (8 + size + size % 2)
            if kind == b"data" and size >= 1 << 62:
                return  # as long as the file
            continue
        kind, size, header = box[4:8], int.from_bytes(box[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(box[8:16], "big"), 16
        if kind == b"moov":
            file.seek(begin + header)
            contents = file.read(min(max(size - header, 0) or _CONTENTS, _CONTENTS))
            yield from (begin + header + found.start() for found in _BOX.finditer(contents))
        if size < header:
            return
        begin += size
