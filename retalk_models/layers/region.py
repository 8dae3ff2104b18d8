"""Parts of pictures that a network must compute at each resolution so that a part of its result is exact.

A convolution of width 3 and a bilinear enlargement each read one sample beyond their result. A region is
grown by that much beforehand; samples computed without such a neighbour, at an edge that is not the picture's
own, are cut off afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

#: A convolution of width 3 with so many samples of padding along rows and along columns, 0 or 1.
Convolution = Callable[[Tensor, tuple[int, int]], Tensor]


class Region(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of a picture."""

    top: int
    bottom: int
    left: int
    right: int

    def reached(self, margin: int, height: int, width: int) -> Region:
        """The region grown by ``margin`` samples, inside a picture of this size."""
        return Region(
            max(0, self.top - margin),
            min(height, self.bottom + margin),
            max(0, self.left - margin),
            min(width, self.right + margin),
        )

    def grown(self, margin: int, height: int, width: int) -> Region:
        """The region grown by ``margin`` samples to even edges, inside a picture of even size."""
        return self.reached(margin, height, width).aligned(2)

    def aligned(self, unit: int) -> Region:
        """The smallest region around it whose edges are multiples of ``unit``."""
        return Region(
            self.top // unit * unit,
            -(-self.bottom // unit) * unit,
            self.left // unit * unit,
            -(-self.right // unit) * unit,
        )

    def halved(self) -> Region:
        """The same part of the picture of half the size; for even edges."""
        assert not any(edge % 2 for edge in self), self
        return Region(*(edge // 2 for edge in self))

    def doubled(self) -> Region:
        """The same part of the picture of twice the size."""
        return Region(*(edge * 2 for edge in self))

    def sources(self, height: int, width: int) -> Region:
        """Region that bilinear enlargement x2 reads for it, in the picture of half the size: ``height`` x
        ``width``.
        """
        found = Region((self.top - 1) // 2, self.bottom // 2 + 1, (self.left - 1) // 2, self.right // 2 + 1)
        return found.reached(0, height, width)

    def joined(self, other: Region) -> Region:
        """The smallest region around both."""
        return Region(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def shared(self, other: Region) -> Region:
        """Intersection; without rows or columns where it is empty."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Region(
            top, max(top, min(self.bottom, other.bottom)), left, max(left, min(self.right, other.right))
        )

    def moved(self, down: int, right: int) -> Region:
        """The same in a picture that begins ``down`` rows and ``right`` columns earlier."""
        return Region(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def of(self, x: Tensor, inside: Region | None = None) -> Tensor:
        """This part of (..., H, W), which shows the whole picture or the region ``inside`` of it."""
        top, left = (0, 0) if inside is None else (inside.top, inside.left)
        assert inside is None or inside.joined(self) == inside, (self, inside)
        return x[..., self.top - top : self.bottom - top, self.left - left : self.right - left]


def whole(x: Tensor) -> Region:
    """All of (..., H, W)."""
    return Region(0, x.shape[-2], 0, x.shape[-1])


class View(NamedTuple):
    """A part of a picture, or of a map of features.

    Attributes:
        x: (B, C, h, w) of ``seen``. Samples outside what was asked for when it was made may be
            wrong.
        seen: the part.
        height: of the whole picture.
        width: of the whole picture.
    """

    x: Tensor
    seen: Region
    height: int
    width: int

    @staticmethod
    def whole(x: Tensor) -> View:
        """All of (B, C, H, W)."""
        return View(x, whole(x), x.shape[-2], x.shape[-1])

    def of(self, wanted: Region) -> Tensor:
        """(B, C, h, w) of a region; no copy."""
        return wanted.of(self.x, self.seen)

    def cut(self, wanted: Region) -> View:
        """Less of it; no copy."""
        return self._replace(x=self.of(wanted), seen=wanted)

    def around(self, wanted: Region) -> View:
        """Input of a convolution of width 3 for ``wanted``, and further columns: dropping rows is free,
        dropping columns costs a copy.
        """
        needed = wanted.reached(1, self.height, self.width)
        return self.cut(Region(needed.top, needed.bottom, self.seen.left, self.seen.right))

    def convolved(self, convolution: Convolution, wanted: Region) -> View:
        """A convolution's result, exact in ``wanted``. It pads only along axes where what is seen does not go
        on at both ends.
        """
        part = self.around(wanted)
        seen = part.seen
        rows = 0 if seen.top < wanted.top and seen.bottom > wanted.bottom else 1
        columns = 0 if seen.left < wanted.left and seen.right > wanted.right else 1
        made = Region(
            seen.top + 1 - rows, seen.bottom - 1 + rows, seen.left + 1 - columns, seen.right - 1 + columns
        )
        return self._replace(x=convolution(part.x, (rows, columns)), seen=made)

    def enlarged(self, wanted: Region) -> View:
        """Bilinear x2 (align_corners off), exact in ``wanted`` of the enlarged picture."""
        part = self.cut(wanted.sources(self.height, self.width))
        x = F.interpolate(part.x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return View(x, part.seen.doubled(), 2 * self.height, 2 * self.width)
