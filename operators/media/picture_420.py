"""Pictures as luma and chroma of half the size (4:2:0), whatever the stream's own sampling is: half the samples of RGB."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from operators.media.color import yuv_to_rgb
from operators.media.orientation import Box
from operators.media.pasting import STRIP, blend
from operators.numeric.halving import halved

if TYPE_CHECKING:
    from operators.media.frames import FrameLayout


@dataclasses.dataclass(frozen=True)
class Picture420:
    """An upright picture.

    Attributes:
        luma: uint8[h, w], code values of Y'.
        chroma: uint8[ceil(h / 2), ceil(w / 2), 2], code values of Cb and Cr: each of a square of 2 x 2 pixels, counted from the first.
        to_rgb: float32[3, 4], R'G'B' of 0..255 = M @ (Y', Cb, Cr, 1).
    """

    luma: np.ndarray
    chroma: np.ndarray
    to_rgb: np.ndarray

    @property
    def rgb(self) -> np.ndarray:
        """uint8[h, w, 3], chroma repeated over the pixels that it covers."""
        height, width = self.luma.shape
        chroma = cv2.resize(self.chroma, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        return np.asarray(cv2.transform(cv2.merge([self.luma, chroma[:height, :width]]), self.to_rgb))


def take(planes: Sequence[np.ndarray], corner: tuple[int, int], box: Box, layout: FrameLayout) -> Picture420:
    """A part of a picture.

    Args:
        planes: of Y', Cb and Cr (Y' alone for gray) in coded orientation.
        corner: x and y of their first luma sample in the coded picture, whole chroma samples.
        box: x1, y1, x2, y2 in the upright picture.
        layout: of the picture.
    """
    x1, y1, x2, y2 = layout.orientation.coded_box(box, layout.width, layout.height)
    more, (left, top) = layout.format.depth - 8, corner
    luma = planes[0][y1 - top : y2 - top, x1 - left : x2 - left]
    luma = np.ascontiguousarray(layout.orientation.upright(_of_8_bits(luma, more)))
    if layout.format.gray:
        chroma = np.full([-(-luma.shape[0] // 2), -(-luma.shape[1] // 2), 2], 128, np.uint8)
    else:
        halves = [_of_8_bits(_half(plane, corner, box, layout), more) for plane in planes[1:3]]
        chroma = np.dstack(halves)
    tags = layout.tags
    return Picture420(luma, chroma, yuv_to_rgb(tags.matrix, tags.full_range, 8, layout.height))


def put(
    planes: Sequence[np.ndarray],
    box: Box,
    layout: FrameLayout,
    picture: Picture420,
    weight: np.ndarray,
) -> None:
    """Blend a picture into planes: samples become ``own + weight * (picture - own)``, rounded; where the weight is 0 they stay.

    Where the stream has finer chroma than the picture, what is finer stays.

    Args:
        planes: uint8 or uint16 [H, W] of Y', Cb and Cr (Y' alone for gray) in coded orientation; they are written to.
        box: x1, y1, x2, y2 in the upright picture.
        layout: of the picture.
        picture: of the box.
        weight: float32[h, w] of the box, 0..1; chroma takes the mean over the pixels that it covers.
    """
    orientation, more = layout.orientation, layout.format.depth - 8
    x1, y1, x2, y2 = orientation.coded_box(box, layout.width, layout.height)
    share = halved(weight)
    own = None if layout.format.gray or _aligned(box, layout) else take(planes, (0, 0), box, layout)
    _blend(planes[0][y1:y2, x1:x2], orientation.coded(picture.luma), orientation.coded(weight), more)
    for number, plane in enumerate(planes[1:3]):
        if own is None:
            a, b, c, d = layout.expand((x1, y1, x2, y2))
            target = plane[b >> 1 : d >> 1, a >> 1 : c >> 1]
            _blend(target, orientation.coded(picture.chroma[..., number]), orientation.coded(share), more)
        else:
            change = share * (picture.chroma[..., number].astype(np.float32) - own.chroma[..., number])
            _add(plane, (x1, y1, x2, y2), layout, change)


def _aligned(box: Box, layout: FrameLayout) -> bool:
    """The stream's chroma samples are those of the squares of 2 x 2 pixels from the box's first one."""
    if layout.format.chroma != (1, 1):
        return False
    x1, y1, _, _ = box
    whole = layout.orientation.coded_box(box, layout.width, layout.height)
    first = layout.orientation.coded_box((x1, y1, x1 + 1, y1 + 1), layout.width, layout.height)
    # The first pixel may lie at either end of the coded box.
    starts = [whole[axis] if first[axis] == whole[axis] else whole[axis + 2] for axis in (0, 1)]
    return all(start % 2 == 0 for start in starts)


def _half(plane: np.ndarray, corner: tuple[int, int], box: Box, layout: FrameLayout) -> np.ndarray:
    """Upright samples of a chroma plane, one of each square of 2 x 2 pixels of a box."""
    coded = layout.orientation.coded_box(box, layout.width, layout.height)
    (x1, y1, x2, y2), (sx, sy), (left, top) = layout.expand(coded), layout.format.chroma, corner
    part = plane[(y1 - top) >> sy : (y2 - top) >> sy, (x1 - left) >> sx : (x2 - left) >> sx]
    if _aligned(box, layout):
        return np.ascontiguousarray(layout.orientation.upright(part))
    if sx or sy:
        part = cv2.resize(part, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
    inner = part[coded[1] - y1 : coded[3] - y1, coded[0] - x1 : coded[2] - x1]
    return halved(np.ascontiguousarray(layout.orientation.upright(inner)))


def _of_8_bits(samples: np.ndarray, more: int) -> np.ndarray:
    return samples if samples.dtype == np.uint8 else (samples >> more).astype(np.uint8)


def _blend(target: np.ndarray, picture: np.ndarray, weight: np.ndarray, more: int) -> None:
    """``target += weight * (picture - target)``, rounded, in place; ``more`` bits that the target has and the picture has not stay."""
    for top in range(0, len(target), STRIP):
        rows, share = target[top : top + STRIP], weight[top : top + STRIP]
        part = picture[top : top + STRIP].astype(np.float32)
        if more:
            part = part * (1 << more) + (rows & ((1 << more) - 1))
        part *= share
        blend(rows, part, share)


def _add(plane: np.ndarray, coded: Box, layout: FrameLayout, change: np.ndarray) -> None:
    """Add to a chroma plane, over a coded box, a change float32 of squares of 2 x 2 upright pixels, levels of 8 bits."""
    width, height = layout.orientation.size(coded[2] - coded[0], coded[3] - coded[1])
    spread = layout.orientation.coded(change.repeat(2, 0)[:height].repeat(2, 1)[:, :width])
    (x1, y1, x2, y2), (sx, sy) = layout.expand(coded), layout.format.chroma
    border = (coded[1] - y1, y2 - coded[3], coded[0] - x1, x2 - coded[2])
    spread = cv2.copyMakeBorder(np.ascontiguousarray(spread), *border, cv2.BORDER_CONSTANT, value=0.0)
    if sx or sy:
        size = (x2 - x1) >> sx, (y2 - y1) >> sy
        spread = cv2.resize(spread, size, interpolation=cv2.INTER_AREA)
    target, depth = plane[y1 >> sy : y2 >> sy, x1 >> sx : x2 >> sx], layout.format.depth
    target[...] = np.rint(np.clip(target + spread * (1 << (depth - 8)), 0, (1 << depth) - 1))
