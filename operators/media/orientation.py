"""Orientation of coded pictures: display matrices of containers, Exif orientation of JPEG files."""

from __future__ import annotations

import dataclasses
import math
import struct

import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from operators.media.sidedata import side_data
from operators.storage.files import filesystem

Box = tuple[int, int, int, int]
#: Exif orientation (CIPA DC-008, 4.6.4) -> turn clockwise, then mirror left to right.
_EXIF = {
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (90, True),
    6: (90, False),
    7: (270, True),
    8: (270, False),
}
#: Bytes at the beginning of a JPEG file among which its Exif segment is looked for (a segment holds 64 KiB at
#: most).
_EXIF_REACH = 1 << 18


@dataclasses.dataclass(frozen=True)
class Orientation:
    """Transform to the upright picture: a clockwise turn by ``rotation`` degrees (0, 90, 180, 270), then a
    mirror left to right.
    """

    rotation: int = 0
    mirrored: bool = False

    def upright(self, coded: np.ndarray) -> np.ndarray:
        """A view [h,w,...] of the coded picture as it is shown."""
        turned = np.rot90(coded, -(self.rotation // 90))
        return turned[:, ::-1] if self.mirrored else turned

    def coded(self, upright: np.ndarray) -> np.ndarray:
        """The inverse of `upright`, a view."""
        turned = upright[:, ::-1] if self.mirrored else upright
        return np.rot90(turned, self.rotation // 90)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture for those of the coded one, and the other way round."""
        return (height, width) if self.rotation in (90, 270) else (width, height)

    def coded_box(self, box: Box, width: int, height: int) -> Box:
        """The box in the coded picture of ``width`` x ``height`` for one in the upright picture."""
        x1, y1, x2, y2 = box
        upright_width, _ = self.size(width, height)
        if self.mirrored:
            x1, x2 = upright_width - x2, upright_width - x1
        if self.rotation == 90:
            return y1, height - x2, y2, height - x1
        if self.rotation == 180:
            return width - x2, height - y2, width - x1, height - y1
        if self.rotation == 270:
            return width - y2, x1, width - y1, x2
        return x1, y1, x2, y2

    @property
    def matrix(self) -> tuple[int, ...]:
        """The display matrix that says so (16.16 and 2.30 fixed point). A point (x, y) is shown at (a x + c
        y, b x + d y), y downwards.
        """
        sine, cosine = ((0, 1), (1, 0), (0, -1), (-1, 0))[self.rotation // 90]
        side = -1 if self.mirrored else 1
        one = 1 << 16
        return (side * cosine * one, sine * one, 0, -side * sine * one, cosine * one, 0, 0, 0, 1 << 30)


def read_orientation(
    picture: VideoFrame, url: str, still: bool
) -> tuple[Orientation, tuple[int, ...] | None]:
    """A picture's orientation, and the display matrix that an output needs to keep it (None without any).

    Args:
        picture: the first decoded picture.
        url: of its file, where Exif is looked up for a still picture.
        still: whether the file is a still picture.
    """
    if still and picture.format.name.startswith("yuvj") and (known := _EXIF.get(_exif_orientation(url))):
        orientation = Orientation(*known)
        return orientation, orientation.matrix
    data = side_data(picture, SideDataType.DISPLAYMATRIX)
    if data is not None:
        matrix = struct.unpack("=9i", data[:36])
        return _of_matrix(matrix), matrix
    if picture.rotation % 360 and picture.rotation % 90 == 0:
        # The matrix is there, though PyAV cannot list the side data: a turn can be told from it, mirroring
        # cannot.
        orientation = Orientation(-picture.rotation % 360)
        return orientation, orientation.matrix
    return Orientation(), None


def _of_matrix(matrix: tuple[int, ...]) -> Orientation:
    """Orientation of a display matrix, to the nearest quarter turn; none where it turns by another angle."""
    a, b, _, c, d, _, _, _, _ = matrix
    # Mirroring left to right changes the sign of what x becomes (a and c) only.
    angle = math.degrees(math.atan2(b, d))
    quarter = round(angle / 90)
    if not (b or d) or abs(angle - 90 * quarter) > 1:
        return Orientation()
    return Orientation(quarter % 4 * 90, mirrored=a * d - b * c < 0)


def _exif_orientation(url: str) -> int:
    """The orientation tag of a JPEG file, 1 (upright) without one."""
    fs, path = filesystem(url)
    with fs.open(path, "rb") as file:
        head = file.read(_EXIF_REACH)
    start = head.find(b"Exif\0\0") + 6
    order = {b"MM": ">", b"II": "<"}.get(head[start : start + 2])
    if start < 6 or order is None or len(head) < start + 8:
        return 1
    entries = start + struct.unpack_from(f"{order}I", head, start + 4)[0]
    if len(head) < entries + 2:
        return 1
    for i in range(struct.unpack_from(f"{order}H", head, entries)[0]):
        position = entries + 2 + 12 * i
        if position + 12 <= len(head) and struct.unpack_from(f"{order}H", head, position)[0] == 0x112:
            return int(struct.unpack_from(f"{order}H", head, position + 8)[0])
    return 1
