"""Parts of pictures: what of each resolution a network must compute so that a part of its result is exact.

A convolution of width 3 and a bilinear enlargement each spoil one sample along an edge that is not the picture's own; a window is grown by
as much beforehand, and what is spoilt is cut off behind.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Window(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of a picture."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, margin: int, height: int, width: int) -> Window:
        """With ``margin`` samples around it, its edges even, inside a picture of even size."""

        def edges(start: int, stop: int, size: int) -> tuple[int, int]:
            return max(0, (start - margin) // 2 * 2), min(size, -((-stop - margin) // 2) * 2)

        return Window(*edges(self.top, self.bottom, height), *edges(self.left, self.right, width))

    def halved(self) -> Window:
        """The same part of the picture of half the size; for even edges."""
        assert not any(edge % 2 for edge in self), self
        return Window(*(edge // 2 for edge in self))

    def joined(self, other: Window) -> Window:
        """The smallest window around both."""
        return Window(min(self.top, other.top), max(self.bottom, other.bottom), min(self.left, other.left), max(self.right, other.right))

    def of(self, x: Tensor, inside: Window | None = None) -> Tensor:
        """This part of (..., H, W), which shows the whole picture or the window ``inside`` of it."""
        top, left = (0, 0) if inside is None else (inside.top, inside.left)
        assert inside is None or inside.joined(self) == inside, (self, inside)
        return x[..., self.top - top : self.bottom - top, self.left - left : self.right - left]


def whole(x: Tensor) -> Window:
    """All of (..., H, W)."""
    return Window(0, x.shape[-2], 0, x.shape[-1])
