"""A decoded frame: presentation time, luma and RGB of the upright picture, and pasting into the frame's own
Y'CbCr planes.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av import VideoFormat
from av.filter import Graph
from av.video.frame import VideoFrame

from operators.media.color import ColorTags, rgb_to_yuv, yuv_to_rgb
from operators.media.cut import Cut, converted
from operators.media.formats import WorkingFormat, planes
from operators.media.orientation import Box, Orientation
from operators.media.pasting import paste_into
from operators.media.picture_420 import Picture420, put, take
from operators.numeric.halving import halved_to


@dataclasses.dataclass(frozen=True)
class FrameLayout:
    """Properties shared by all frames of a stream."""

    format: WorkingFormat
    tags: ColorTags
    orientation: Orientation
    #: Coded size.
    width: int
    height: int

    @property
    def to_rgb(self) -> np.ndarray:
        return yuv_to_rgb(self.tags.matrix, self.tags.full_range, self.format.depth, self.height)

    @property
    def to_yuv(self) -> np.ndarray:
        return rgb_to_yuv(self.tags.matrix, self.tags.full_range, self.format.depth, self.height)

    def expand(self, box: Box) -> Box:
        """A coded box grown to whole chroma samples."""
        sx, sy = self.format.chroma
        x1, y1, x2, y2 = box
        return x1 >> sx << sx, y1 >> sy << sy, -(-x2 >> sx) << sx, -(-y2 >> sy) << sy


class DecodedFrame:
    """One frame of a video, upright, to be read.

    Attributes:
        index: number of the frame by presentation order, from 0.
        pts: presentation time in units of the video's time base.
    """

    __slots__ = ("_layout", "_picture", "_private", "index", "pts")

    def __init__(self, index: int, pts: int, picture: VideoFrame, layout: FrameLayout) -> None:
        self.index = index
        self.pts = pts
        self._picture = picture
        #: Nobody else refers to the picture's samples: they may be written to.
        self._private = False
        self._layout = layout

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture in pixels."""
        return self._layout.orientation.size(self._layout.width, self._layout.height)

    @property
    def picture(self) -> VideoFrame:
        """The frame as PyAV holds it, in coded orientation, to be read or encoded; never to be written to."""
        self._private = False
        return self._picture

    @property
    def layout(self) -> FrameLayout:
        """Pixel format, colours and orientation, the same for all frames of a video."""
        return self._layout

    def samples(self) -> list[np.ndarray]:
        """Read-only views of the Y', Cb and Cr planes (Y' alone for gray) in coded orientation, uint8 or,
        with 10 bits, uint16.
        """
        self._private = False
        views = planes(self._picture)[:3]
        for view in views:
            view.flags.writeable = False
        return views

    def luma(self, box: Box | None = None) -> np.ndarray:
        """uint8[h,w], luma code values of the upright picture inside ``box`` (all of it if None; 10 bits are cut
        to 8); a read-only view where possible.

        Raises:
            ValueError: the box is empty or leaves the picture.
        """
        x1, y1, x2, y2 = self._checked(box)
        luma = self._layout.orientation.upright(self.samples()[0])[y1:y2, x1:x2]
        return luma if luma.dtype == np.uint8 else (luma >> (self._layout.format.depth - 8)).astype(np.uint8)

    def rgb(self, box: Box | None = None) -> np.ndarray:
        """uint8[h,w,3], RGB of the upright picture inside ``box`` (all of it if None), by the stream's matrix
        and range.

        Chroma samples are repeated over the pixels they cover, so that `paste` of an unchanged crop restores
        them.

        Raises:
            ValueError: the box is empty or leaves the picture.
        """
        return Cut(planes(self._picture)[:3], (0, 0), self._layout).rgb(self._checked(box))

    def picture_420(self, box: Box) -> Picture420:
        """The upright picture inside ``box`` as luma and chroma of half the size, 8 bits each.

        Raises:
            ValueError: the box is empty or leaves the picture.
        """
        return take(planes(self._picture)[:3], (0, 0), self._checked(box), self._layout)

    def cut(self, box: Box) -> Cut:
        """Copy the samples under a box: all that is needed for `rgb` of a part of it later.

        Raises:
            ValueError: the box is empty or leaves the picture.
        """
        layout = self._layout
        x1, y1, x2, y2 = layout.expand(
            layout.orientation.coded_box(self._checked(box), layout.width, layout.height)
        )
        shifts = ((0, 0), layout.format.chroma, layout.format.chroma)
        samples = [
            view[y1 >> sy : y2 >> sy, x1 >> sx : x2 >> sx].copy()
            for view, (sx, sy) in zip(planes(self._picture)[:3], shifts)
        ]
        return Cut(samples, (x1, y1), layout)

    def rgb_resized(self, size: tuple[int, int], box: Box | None = None) -> np.ndarray:
        """uint8[height,width,3], RGB of the upright picture inside ``box`` (all of it if None) in another size, bilinear.

        For networks that see small pictures. What has more pixels than ``size`` is resized before it is converted, which
        costs a fraction of `rgb` and differs from resizing its result by rounding and by chroma, which is interpolated
        here and may lie off by one pixel of the source where the box is odd.

        Args:
            size: width and height.
            box: x1, y1, x2, y2.

        Raises:
            ValueError: the box is empty or leaves the picture.
        """
        x1, y1, x2, y2 = self._checked(box)
        if (x2 - x1) * (y2 - y1) <= size[0] * size[1]:
            return cv2.resize(self.rgb(box), size)
        return converted([cv2.resize(part, size) for part in self._parts((x1, y1, x2, y2))], self._layout)

    def rgb_halved(self, box: Box, times: int) -> np.ndarray:
        """uint8[height,width,3], RGB of the upright picture inside ``box`` with half its sides, so many times: each pixel the mean of
        those that it takes the place of. Differs from the mean of `rgb` by rounding, and by chroma where the box is odd.

        Raises:
            ValueError: the box leaves the picture, or its sides are not multiples of ``2 ** times``.
        """
        x1, y1, x2, y2 = self._checked(box)
        size = (x2 - x1) >> times, (y2 - y1) >> times
        if (size[0] << times, size[1] << times) != (x2 - x1, y2 - y1):
            raise ValueError(f"box {box} cannot be halved {times} times")
        return converted([halved_to(part, size) for part in self._parts((x1, y1, x2, y2))], self._layout)

    def _parts(self, box: Box) -> list[np.ndarray]:
        """Upright views of the samples of Y', Cb and Cr (Y' alone for gray) under a box."""
        layout = self._layout
        x1, y1, x2, y2 = layout.orientation.coded_box(box, layout.width, layout.height)
        first, *others = planes(self._picture)[:3]
        crops = [first[y1:y2, x1:x2]]
        (x1, y1, x2, y2), (sx, sy) = layout.expand((x1, y1, x2, y2)), layout.format.chroma
        crops += [view[y1 >> sy : y2 >> sy, x1 >> sx : x2 >> sx] for view in others]
        if layout.orientation == Orientation():
            return crops
        return [np.ascontiguousarray(layout.orientation.upright(crop)) for crop in crops]

    def _checked(self, box: Box | None) -> Box:
        width, height = self.size
        if box is None:
            return 0, 0, width, height
        x1, y1, x2, y2 = (int(v) for v in box)
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ValueError(f"box {tuple(box)} is empty or leaves the picture of {width}x{height}")
        return x1, y1, x2, y2


class Frame(DecodedFrame):
    """One frame of a video, upright, that can be drawn into.

    Attributes:
        drawn: the box around all that `paste` has drawn: x1, y1, x2, y2 in the upright picture; None: nothing.
    """

    __slots__ = ("_pasted", "_source", "drawn")

    def __init__(self, index: int, pts: int, picture: VideoFrame, layout: FrameLayout) -> None:
        super().__init__(index, pts, picture, layout)
        #: The picture before it was drawn into.
        self._source = picture
        self.drawn: Box | None = None
        #: Where and how strongly it was drawn into.
        self._pasted: list[tuple[Box, np.ndarray]] = []

    @property
    def original(self) -> Frame:
        """The frame as it was before anything was drawn into it."""
        return Frame(self.index, self.pts, self._source, self._layout)

    @property
    def drawn_boxes(self) -> list[Box]:
        """Boxes of what was drawn, one for each `paste`, in the upright picture."""
        return [box for box, _ in self._pasted]

    def paste(self, box: Box, rgb: np.ndarray, alpha: np.ndarray) -> None:
        """Blend a crop into the frame: code values become ``(1 - alpha) * own + alpha * pasted``, rounded.

        Luma samples with ``alpha == 0`` and chroma samples all of whose pixels have ``alpha == 0`` keep their
        exact values. A chroma sample takes the mean over its pixels, weighted by alpha. What others hold of
        this frame (views, copies, the decoder's references) does not change.

        Args:
            box: where, in the upright picture: x1, y1, x2, y2.
            rgb: uint8[h,w,3], upright.
            alpha: float32[h,w], 0..1, upright.

        Raises:
            ValueError: the box leaves the picture, or shapes do not agree.
        """
        layout = self._layout
        x1, y1, x2, y2 = self._checked(box)
        if rgb.shape != (y2 - y1, x2 - x1, 3) or alpha.shape != rgb.shape[:2] or rgb.dtype != np.uint8:
            raise ValueError(
                f"paste of {rgb.dtype}{list(rgb.shape)} with alpha {list(alpha.shape)} into box {box}: "
                f"need uint8[{y2 - y1},{x2 - x1},3] and alpha of that size"
            )
        # Work where something is shown only.
        shown = self._note_drawn((x1, y1, x2, y2), alpha)
        if shown is None:
            return
        (x1, y1, x2, y2), inner = shown
        rgb, alpha = rgb[inner], alpha[inner]
        box = layout.orientation.coded_box((x1, y1, x2, y2), layout.width, layout.height)
        x1, y1, x2, y2 = layout.expand(box)
        border = (box[1] - y1, y2 - box[3], box[0] - x1, x2 - box[2])
        weight = cv2.copyMakeBorder(
            _contiguous(layout.orientation.coded(alpha), np.float32), *border, cv2.BORDER_CONSTANT, value=0.0
        )
        colors = cv2.copyMakeBorder(
            _contiguous(layout.orientation.coded(rgb), np.uint8), *border, cv2.BORDER_REPLICATE
        )
        paste_into(self._writable(), layout.format.chroma, (x1, y1), colors, weight, layout.to_yuv)

    def paste_420(self, box: Box, picture: Picture420, alpha: np.ndarray) -> None:
        """Blend a crop into the frame as `paste` does: code values become ``own + alpha * (pasted - own)``, rounded. What the frame has
        more than the picture, two bits of samples or finer chroma, stays.

        Args:
            box: where, in the upright picture: x1, y1, x2, y2.
            picture: of the box.
            alpha: float32[h,w], 0..1, upright.

        Raises:
            ValueError: the box leaves the picture, or shapes do not agree.
        """
        x1, y1, x2, y2 = self._checked(box)
        if picture.luma.shape != (y2 - y1, x2 - x1) or alpha.shape != picture.luma.shape:
            raise ValueError(
                f"paste of luma {list(picture.luma.shape)} with alpha {list(alpha.shape)} into box {box}"
            )
        # From whole squares of chroma on.
        shown = self._note_drawn((x1, y1, x2, y2), alpha, 2)
        if shown is None:
            return
        box, (rows, columns) = shown
        half = slice(rows.start // 2, -(-rows.stop // 2)), slice(columns.start // 2, -(-columns.stop // 2))
        inner = Picture420(picture.luma[rows, columns], picture.chroma[half], picture.to_rgb)
        put(self._writable(), box, self._layout, inner, np.ascontiguousarray(alpha[rows, columns]))

    def _note_drawn(
        self, box: Box, alpha: np.ndarray, step: int = 1
    ) -> tuple[Box, tuple[slice, slice]] | None:
        """Note that a box is drawn into: where alpha is not 0, in the picture and in the box, in whole ``step`` from its corner; None:
        nowhere.
        """
        left, top, width, height = cv2.boundingRect((alpha != 0).view(np.uint8))
        if not width:
            return None
        a = self.drawn or box
        self.drawn = min(a[0], box[0]), min(a[1], box[1]), max(a[2], box[2]), max(a[3], box[3])
        # Whole steps, as far as the crop goes.
        right = min(left + width + (left + width) % step, alpha.shape[1])
        bottom = min(top + height + (top + height) % step, alpha.shape[0])
        left, top = left - left % step, top - top % step
        place = box[0] + left, box[1] + top, box[0] + right, box[1] + bottom
        inner = slice(top, bottom), slice(left, right)
        self._pasted.append((place, alpha[inner]))
        return place, inner

    def _writable(self) -> list[np.ndarray]:
        """The planes, for this frame alone to write to."""
        if not self._private:
            # Views, copies and the decoder go on referring to the old samples.
            self._picture, self._private = _duplicate(self._picture), True
        return planes(self._picture)[:3]

    def drawn_weight(self, box: Box) -> np.ndarray:
        """float32[h,w], how strongly `paste` has drawn inside a box: 0 where samples are the source's own."""
        x1, y1, x2, y2 = self._checked(box)
        weight = np.zeros([y2 - y1, x2 - x1], np.float32)
        for (a1, b1, a2, b2), alpha in self._pasted:
            left, top, right, bottom = max(a1, x1), max(b1, y1), min(a2, x2), min(b2, y2)
            if left < right and top < bottom:
                there = weight[top - y1 : bottom - y1, left - x1 : right - x1]
                np.maximum(there, alpha[top - b1 : bottom - b1, left - a1 : right - a1], out=there)
        return weight

    def change_luma(self, box: Box, change: np.ndarray) -> None:
        """Add to luma samples, inside the range that the stream's code values have. Where the change is 0 they stay.

        Args:
            box: where, in the upright picture: x1, y1, x2, y2.
            change: int16[h,w], upright, in levels of 8 bits.

        Raises:
            ValueError: the box is empty or leaves the picture.
        """
        layout = self._layout
        x1, y1, x2, y2 = layout.orientation.coded_box(self._checked(box), layout.width, layout.height)
        target, more = self._writable()[0][y1:y2, x1:x2], layout.format.depth - 8
        added = layout.orientation.coded(change)
        own = target.astype(np.int16)
        low, high = (0, 255) if layout.tags.full_range else (16, 235)
        # Samples outside the range stay; none is pushed out of it.
        least, most = np.minimum(own, low << more), np.maximum(own, high << more)
        own += added << more
        np.clip(own, least, most, out=own)
        target[:] = own

    def copy(self) -> Frame:
        """An independent frame with the same picture. Samples are shared until one of the two is
        written to.
        """
        self._private = False
        return Frame(self.index, self.pts, self._picture, self._layout)


def _contiguous(array: np.ndarray, dtype: Any) -> np.ndarray:
    return np.ascontiguousarray(array, dtype)


def _duplicate(picture: VideoFrame) -> VideoFrame:
    """A picture with samples of its own and everything else (times, colours, fields, side data) the same."""
    with _graph_lock:
        graph = _reference_graph(picture.width, picture.height, picture.format.name)
        graph.push(picture)
        second = graph.pull()
    assert isinstance(second, VideoFrame)
    # It refers to the same samples as the first, so that this copies them.
    second.make_writable()
    return second


_graph_lock = threading.Lock()


@functools.lru_cache(maxsize=8)
def _reference_graph(width: int, height: int, name: str) -> Graph:
    """A filter graph that passes pictures on as they are."""
    graph = Graph()
    source = graph.add_buffer(
        width=width, height=height, format=VideoFormat(name), time_base=Fraction(1, 1000)
    )
    sink = graph.add("buffersink")
    source.link_to(sink)
    graph.configure()
    return graph
