"""StyleGAN2 layers (Karras et al., 2020) with bilinear resampling, as E-Net's enhancer and GFPGAN's decoder
use them.

The reference scales the weights of every sample and runs a grouped convolution with one group a sample. Here
the activations are scaled instead and the output is demodulated: the same numbers up to rounding, as one
ordinary convolution for the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers import winograd
from retalk_models.layers.region import Region, View


def upsample(x: Tensor) -> Tensor:
    """Bilinear x2 (align_corners off)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def filter_energy(weight: Tensor) -> Tensor:
    """Sums of squares over each filter's taps: (out, in, k, k) -> (out, in), in float32 whatever the weights
    are.
    """
    return weight.float().square().sum(dim=(2, 3))


def demodulation(energy: Tensor, style: Tensor) -> Tensor:
    """Reciprocal norms of the modulated filters.

    Args:
        energy: (out, in) from `filter_energy`.
        style: (B, in) scales of the input channels.

    Returns:
        (B, out, 1, 1) float32.
    """
    # Not a matrix product, which autocast would run in half precision.
    squares = (style.float().square()[:, None] * energy).sum(dim=2)
    return torch.rsqrt(squares + 1e-8)[:, :, None, None]


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by a style and, if ``demodulate``, whose filters then have
    unit norm.

    Keys ``weight`` (1, out, in, k, k), ``modulation`` (linear layer from the style code).
    """

    energy: Tensor | None

    def __init__(
        self, cin: int, cout: int, kernel: int, style_dim: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.up = up
        self.register_buffer("energy", None, persistent=False)  # known beforehand once `fold` was called
        self.weight = nn.Parameter(torch.empty(1, cout, cin, kernel, kernel))
        self.modulation = nn.Linear(style_dim, cin)

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve, but leave the demodulation to whoever adds the bias: that is one pass over the picture
        less.

        Args:
            x: (B, in, H, W).
            code: (B, style_dim).

        Returns:
            (B, out, H, W), twice the size with ``up``, and the factor (B, out, 1, 1) or (1, 1, 1, 1) that it
            must be multiplied with.
        """
        view = View.whole(x)
        y, factor = self.part(view, code, view.seen.doubled() if self.up else view.seen)
        return y.x, factor

    def part(self, view: View, code: Tensor, wanted: Region) -> tuple[View, Tensor]:
        """`forward` where only ``wanted`` of the result is needed."""
        style, weight = self.modulation(code), self.weight[0]
        view = self.needed(view, wanted)
        view = self.resampled(view._replace(x=view.x * style[:, :, None, None].to(view.x.dtype)), wanted)
        if weight.shape[-1] == 1:
            y = view._replace(x=F.conv2d(view.x.to(weight.dtype), weight))
        else:
            y = view.convolved(
                lambda x, padding: F.conv2d(x.to(weight.dtype), weight, padding=padding), wanted
            )
        if not self.demodulate:
            return y, y.x.new_ones(1, 1, 1, 1)
        return y, demodulation(filter_energy(weight) if self.energy is None else self.energy, style)

    def single(self, view: View, code: Tensor, bias: Tensor, wanted: Region) -> View:
        """For one sample, once folded: 3x3 filters are modulated instead of its picture; with the bias, times
        sqrt 2.
        """

        def convolution(x: Tensor, padding: tuple[int, int]) -> Tensor:
            rows = winograd.filters_for(self, x, padding)
            if rows is not None:
                return winograd.convolve(x, self.modulated(rows, code) * 2**0.5, bias, padding)
            weight = (self.modulated(self.weight, code)[0] * 2**0.5).to(self.weight.dtype)
            return F.conv2d(x.to(weight.dtype), weight, bias.to(weight.dtype), padding=padding)

        return self.resampled(self.needed(view, wanted), wanted).convolved(convolution, wanted)

    def needed(self, view: View, wanted: Region) -> View:
        """Part of the input that ``wanted`` of the result depends on."""
        scale = 2 if self.up else 1
        around = wanted.reached(self.weight.shape[-1] // 2, view.height * scale, view.width * scale)
        return view.cut(around.sources(view.height, view.width) if self.up else around)

    def resampled(self, view: View, wanted: Region) -> View:
        """Enlarged if ``up``. Scaling and resampling commute: fewer samples are scaled this way round."""
        return view.enlarged(wanted.reached(1, 2 * view.height, 2 * view.width)) if self.up else view

    def modulated(self, weight: Tensor, code: Tensor) -> Tensor:
        """Filters (n, out, in, k, l), made of this layer's by what is linear, modulated for a code (1,
        style_dim), in float32.
        """
        style = self.modulation(code).float()
        scale = style[0, :, None, None]
        if self.demodulate:
            assert self.energy is not None
            scale = scale * demodulation(self.energy, style)[0, :, None]
        return weight.float() * scale

    def fold(self) -> nn.Module:
        """Itself, with the filters' energies known beforehand; `single` may be called."""
        self.energy = filter_energy(self.weight[0])
        return self


class StyleConv(nn.Module):
    """Modulated 3x3 convolution times sqrt 2, plus noise times its strength ``weight``, plus ``bias``;
    LReLU(0.2).
    """

    def __init__(self, cin: int, cout: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(cin, cout, 3, style_dim, up=up)
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1, cout, 1, 1))

    def forward(self, x: Tensor, code: Tensor, noise: Tensor | None) -> Tensor:
        """``noise`` (B or 1, 1, H, W) of the output's size, None for none."""
        view = View.whole(x)
        return self.part(view, code, noise, view.seen.doubled() if self.modulated_conv.up else view.seen).x

    def part(self, view: View, code: Tensor, noise: Tensor | None, wanted: Region) -> View:
        """`forward` where only ``wanted`` of the result is needed; ``noise`` is the whole picture's."""
        conv = self.modulated_conv
        if conv.energy is not None and len(code) == 1:
            made = conv.single(view, code, self.bias.flatten(), wanted)
            y = made.x
        else:
            made, factor = conv.part(view, code, wanted)
            y = torch.addcmul(self.bias.to(made.x.dtype), made.x, (factor * 2**0.5).to(made.x.dtype))
        if noise is not None:
            y = y + (self.weight * made.seen.of(noise)).to(y.dtype)
        return made._replace(x=F.leaky_relu(y, 0.2, inplace=True))


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB without demodulation, plus ``bias``, plus the picture so far enlarged
    x2.
    """

    def __init__(self, cin: int, style_dim: int, *, up: bool = True) -> None:
        super().__init__()
        self.up = up
        self.modulated_conv = ModulatedConv2d(cin, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, features: View, code: Tensor, skip: View | None) -> Tensor:
        """-> (B, 3, h, w) float32 of what ``features`` shows: the picture is summed over many resolutions."""
        y = self._project(features.x, code).float() + self.bias
        if skip is None:
            return y
        return y + (skip.enlarged(features.seen) if self.up else skip).of(features.seen)

    def _project(self, x: Tensor, code: Tensor) -> Tensor:
        conv = self.modulated_conv
        if conv.energy is not None and len(code) == 1:
            # A matrix product: torch's 1x1 convolution to three channels is several times slower on the CPU.
            weight = conv.modulated(conv.weight, code)[0].flatten(1).to(x.dtype)
            return (x.permute(0, 2, 3, 1) @ weight.T).permute(0, 3, 1, 2)
        return conv(x, code)[0]


class ResBlock(nn.Module):
    """Residual block of the U-Nets around the decoder: 3x3, LReLU(0.2), bilinear x0.5 or x2, 3x3, LReLU(0.2);
    1x1 skip without bias.

    Bilinear x0.5 of an even size is the mean of 2x2. The skip's 1x1 convolution and the resampling commute;
    the cheaper order is run.
    """

    def __init__(self, cin: int, cout: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv1 = nn.Conv2d(cin, cin, 3, padding=1)
        self.conv2 = nn.Conv2d(cin, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            view = View.whole(x)
            return self.part(view, view.seen.doubled()).x
        y = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        y = F.leaky_relu(self.conv2(F.avg_pool2d(y, 2)), 0.2, inplace=True)
        return y + self.skip(F.avg_pool2d(x, 2))

    @staticmethod
    def sources(wanted: Region, height: int, width: int) -> Region:
        """Part of an input of this size that ``wanted`` of the enlarged result depends on."""
        return wanted.reached(1, 2 * height, 2 * width).sources(height, width).reached(1, height, width)

    def part(self, view: View, wanted: Region) -> View:
        """`forward` with ``up`` where only ``wanted`` of the result is needed, which is what it shows."""
        around = wanted.reached(1, 2 * view.height, 2 * view.width)
        half = around.sources(view.height, view.width)
        y = activated(convolved(view, self.conv1, half)).enlarged(around)
        y = activated(convolved(y, self.conv2, wanted))
        skip = view._replace(x=self.skip(view.x)).enlarged(wanted)
        return y._replace(x=y.of(wanted) + skip.of(wanted), seen=wanted)


def convolved(view: View, conv: nn.Conv2d, wanted: Region) -> View:
    """`View.convolved` with a layer whose padding is zeros."""
    return view.convolved(lambda x, padding: winograd.run(conv, x, padding), wanted)


def activated(view: View) -> View:
    """LReLU(0.2), in place."""
    return view._replace(x=F.leaky_relu(view.x, 0.2, inplace=True))
