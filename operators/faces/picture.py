"""The picture of a frame, converted to colour where it is looked at and nowhere else."""

from __future__ import annotations

from typing import Any, TypeAlias, Union

import numpy as np

from operators.media.frames import Frame
from operators.numeric.halving import halved_to


class FramePicture:
    """RGB picture of a frame: its parts are converted when they are asked for.

    A face that is followed takes up a part of the picture, and converting all of it costs more than cutting out what is needed.

    Args:
        frame: of the video.

    Attributes:
        shape: height, width and 3.
        luma: uint8[h, w], code values.

    Examples:
        >>> picture[100:200, 50:150]  # doctest: +SKIP
    """

    ndim = 3

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.luma = frame.luma()
        self.shape = (*self.luma.shape, 3)

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """RGB uint8[h, w, 3] of rows and columns from a start to a stop inside the picture."""
        rows, columns = part
        return self._frame.rgb((columns.start, rows.start, columns.stop, rows.stop))

    def halved(self, box: tuple[int, int, int, int], times: int) -> np.ndarray:
        """RGB uint8[h, w, 3] of a box with half its sides, so many times: reduced before it is converted. Its sides are multiples
        of ``2 ** times``.
        """
        return self._frame.rgb_halved(box, times)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it."""
        return np.asarray(self._frame.rgb(), dtype)


#: uint8[h, w] luma, uint8[h, w, 3] RGB, or a frame.
Picture: TypeAlias = Union[np.ndarray, FramePicture]  # noqa: UP007


def reduced(picture: Picture, box: tuple[int, int, int, int], times: int) -> np.ndarray:
    """Part of a picture with half its sides, so many times: each pixel the mean of those that it takes the place of.

    Args:
        picture: to be read.
        box: x1, y1, x2, y2 inside it; its sides are multiples of ``2 ** times``.
        times: 0 or more.
    """
    x1, y1, x2, y2 = box
    if isinstance(picture, FramePicture):
        return picture.halved(box, times) if times else picture[y1:y2, x1:x2]
    return halved_to(picture[y1:y2, x1:x2], ((x2 - x1) >> times, (y2 - y1) >> times))
