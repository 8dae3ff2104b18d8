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
from av.audio.stream import AudioStream

from operators.media.outer_parts import outer_boxes, outer_chunks
from operators.storage.files import filesystem

#: How FFmpeg describes an order of its own kind: the names of the channels one by one.
_FOREIGN = re.compile(r"\d+ channels? \(")
#: The box with its version, inside the table of contents of a QuickTime file.
_BOX = re.compile(rb"chan\0\0\0\0", re.DOTALL)
#: The name that an unwanted box is given: readers skip it.
_SKIPPED = b"free"
#: Layouts of FLAC by the number of channels (RFC 9639, 9.1.3), as FFmpeg names them without "(side)".
FLAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
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
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"caff":
        chunks = outer_chunks(file, 8, "big", 8, padded=False)
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        chunks = outer_chunks(file, 12, "big")
    else:
        for box in outer_boxes(file):
            if box.kind == b"moov":
                file.seek(box.content)
                contents = file.read(min(max(box.size, 0) or _CONTENTS, _CONTENTS))
                yield from (box.content + found.start() for found in _BOX.finditer(contents))
        return
    yield from (chunk.begin for chunk in chunks if chunk.kind in (b"chan", b"CHAN"))


def has_unusual_channels(stream: AudioStream) -> bool:
    """True for FLAC with other channels than their number means where a container keeps no names of them, as MP4 does not."""
    if stream.codec_context.name != "flac":
        return False
    layout = stream.codec_context.layout
    return layout.name.partition("(")[0] != FLAC_LAYOUTS.get(layout.nb_channels)
