"""Samples of a part of a frame, and their conversion to RGB; used by `operators.media.frames`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from operators.media.orientation import Box
from operators.media.picture_420 import Picture420, take

if TYPE_CHECKING:
    from operators.media.frames import FrameLayout


class Cut:
    """Samples of a part of a frame, in coded orientation.

    Args:
        samples: Y', Cb and Cr (Y' alone for gray).
        origin: x and y of the first luma sample in the coded picture, whole chroma samples.
        layout: the frame's.
    """

    __slots__ = ("_layout", "_origin", "_samples")

    def __init__(self, samples: list[np.ndarray], origin: tuple[int, int], layout: FrameLayout) -> None:
        self._samples, self._origin, self._layout = samples, origin, layout

    @property
    def bytes(self) -> int:
        """Size of the samples."""
        return sum(plane.nbytes for plane in self._samples)

    def picture_420(self, box: Box) -> Picture420:
        """`Frame.picture_420` of a box in the upright picture that lies inside the part."""
        return take(self._samples, self._origin, box, self._layout)

    def rgb(self, box: Box) -> np.ndarray:
        """`Frame.rgb` of a box in the upright picture that lies inside the part."""
        layout, (left, top) = self._layout, self._origin
        box = layout.orientation.coded_box(box, layout.width, layout.height)
        x1, y1, x2, y2 = layout.expand(box)
        sx, sy = layout.format.chroma
        yuv: list[Any] = [self._samples[0][y1 - top : y2 - top, x1 - left : x2 - left]]
        for plane in self._samples[1:]:
            crop = plane[(y1 - top) >> sy : (y2 - top) >> sy, (x1 - left) >> sx : (x2 - left) >> sx]
            yuv.append(
                cv2.resize(crop, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST) if sx or sy else crop
            )
        rgb = converted(yuv, layout)
        inner = rgb[box[1] - y1 : box[3] - y1, box[0] - x1 : box[2] - x1]
        return np.ascontiguousarray(layout.orientation.upright(inner))


def converted(yuv: list[Any], layout: FrameLayout) -> np.ndarray:
    """uint8[h,w,3] RGB of planes of one size; of gray pictures one plane."""
    if layout.format.gray:
        yuv = [*yuv, *[np.full_like(yuv[0], 1 << (layout.format.depth - 1))] * 2]
    merged = cv2.merge(yuv)
    rgb: Any = cv2.transform(merged if merged.dtype == np.uint8 else merged.astype(np.float32), layout.to_rgb)
    return rgb if rgb.dtype == np.uint8 else np.rint(np.clip(rgb, 0, 255)).astype(np.uint8)
