"""3x3 convolutions with half the products: Winograd's F(4, 3) along rows (Lavin and Gray, 2016), direct along
columns; for CPUs, float32.

Four rows of the result take six convolutions of width 3, each of a sum of rows of the picture, instead of
twelve. One axis only: sums of whole rows are cheap, and rounding grows less.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Rows of the result that are made together, and rows of the picture they are made of.
TILE, TAPS = 4, 6
#: From the rows of a filter to those of its six.
_FILTERS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
#: Channels and samples of the result from which it is faster than a direct convolution (measured).
CHANNELS, SAMPLES = 96, 200
#: Numbers in each of the six sums below which torch would give a single picture's convolution to BLAS instead of oneDNN.
SMALL = 20480
#: Bytes of a band of the picture that is worked on at a time: its six sums stay in the cache.
BAND = 8 << 20


def row_filters(weight: Tensor) -> Tensor:
    """The six filters (6, out, in, 1, 3) of each filter of (out, in, 3, 3), channels innermost."""
    matrix = weight.new_tensor(_FILTERS, dtype=torch.float64)
    filters = torch.einsum("gk,oikx->goxi", matrix, weight.double()).to(weight.dtype)
    return filters[:, :, None].contiguous().permute(0, 1, 4, 2, 3)


class RowFilters:
    """A layer's `row_filters`, made when they are first asked for: many layers see small pictures only, and
    they are twice the weights.
    """

    def __init__(self) -> None:
        self._made: Tensor | None = None

    def of(self, weight: Tensor) -> Tensor:
        """Those of a weight (out, in, 3, 3), or (1, out, in, 3, 3), that does not change."""
        if self._made is None:
            self._made = row_filters(weight.detach().reshape(weight.shape[-4:]))
        return self._made


def enable(layer: nn.Module) -> None:
    """Let `run` and its like take this way for a layer whose ``weight`` does not change any more, if it has
    channels enough.
    """
    weight: Any = layer.weight
    if min(weight.shape[-4:-2]) >= CHANNELS:
        layer.rows = RowFilters()  # type: ignore[assignment]


def filters_for(layer: nn.Module, x: Tensor, padding: tuple[int, int]) -> Tensor | None:
    """`row_filters` of a layer that was enabled, if a picture is large enough to gain."""
    rows: Any = getattr(layer, "rows", None)
    return rows.of(layer.weight) if rows is not None and fits(x, padding) else None


def run(conv: nn.Conv2d, x: Tensor, padding: tuple[int, int]) -> Tensor:
    """A 3x3 convolution with zeros around, whichever way."""
    filters = filters_for(conv, x, padding)
    if filters is None:
        return F.conv2d(x, conv.weight, conv.bias, padding=padding)
    return convolve(x, filters, conv.bias, padding)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution with zeros around that goes through `run` where it is called as a module."""

    def forward(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str)
        return run(self, x, (self.padding[0], self.padding[1]))


def fits(x: Tensor, padding: tuple[int, int]) -> bool:
    """True if a picture (B, C, H, W) is large enough to gain."""
    rows, columns = x.shape[-2] + 2 * padding[0] - 2, x.shape[-1] + 2 * padding[1] - 2
    sums = x.shape[0] * x.shape[1] * (rows // TILE) * (columns + 2)
    return rows >= 2 * TILE and rows * columns >= SAMPLES and sums > SMALL


def convolve(x: Tensor, filters: Tensor, bias: Tensor | None, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """A 3x3 convolution.

    Args:
        x: (B, in, H, W) float32, best with the channels innermost.
        filters: from `row_filters`.
        bias: (out,) or None.
        padding: zeros above and below, and left and right.

    Returns:
        (B, out, h, w), channels innermost.
    """
    if any(padding):
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    picture = x.permute(0, 2, 3, 1)
    count, height, width, channels = picture.shape
    rows = height - 2
    assert rows >= TILE, x.shape
    result = x.new_empty(count, rows, width - 2, filters.shape[1])
    band = max(TILE, BAND // (count * width * channels * 4) // TILE * TILE)
    whole = rows // TILE * TILE
    for start in range(0, whole, band):
        stop = min(start + band, whole)
        _band(picture[:, start : stop + 2], filters, bias, result[:, start:stop])
    if whole < rows:  # what is left, with some rows once more
        _band(picture[:, rows - TILE :], filters, bias, result[:, rows - TILE :])
    return result.permute(0, 3, 1, 2)


def _band(picture: Tensor, filters: Tensor, bias: Tensor | None, result: Tensor) -> None:
    """Rows (B, 4n, w, out) of the result from rows (B, 4n + 2, w + 2, in) of the picture."""
    last = result.shape[1] - TILE + 1
    d = [picture[:, k : k + last : TILE] for k in range(TAPS)]
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    even_, odd_ = d[4] - d[2], d[3] - d[1]
    sums = (
        torch.sub(d[4], d[2], alpha=5).add_(d[0], alpha=4),
        even + odd,
        even.sub_(odd),
        torch.add(even_, odd_, alpha=2),
        even_.sub_(odd_, alpha=2),
        torch.sub(d[5], d[3], alpha=5).add_(d[1], alpha=4),
    )
    # Each row of the result holds the second product once: the bias comes with it.
    m = [
        F.conv2d(part.permute(0, 3, 1, 2), own, bias if i == 1 else None).permute(0, 2, 3, 1)
        for i, (part, own) in enumerate(zip(sums, filters, strict=True))
    ]
    plus, minus, far_plus, far_minus = m[1] + m[2], m[1].sub_(m[2]), m[3] + m[4], m[3].sub_(m[4])
    torch.add(m[0].add_(plus), far_plus, out=result[:, 0::TILE])
    torch.add(minus, far_minus, alpha=2, out=result[:, 1::TILE])
    torch.add(plus, far_plus, alpha=4, out=result[:, 2::TILE])
    torch.add(m[5].add_(minus), far_minus, alpha=8, out=result[:, 3::TILE])
