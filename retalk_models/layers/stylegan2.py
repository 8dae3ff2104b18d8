"""StyleGAN2 layers (Karras et al., 2020) with bilinear resampling, as E-Net's enhancer and GFPGAN's decoder use them.

The reference scales the weights of every sample and runs a grouped convolution with one group a sample. Here the activations are
scaled instead and the output is demodulated: the same numbers up to rounding, as one ordinary convolution for the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def upsample(x: Tensor) -> Tensor:
    """Bilinear x2 (align_corners off)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def filter_energy(weight: Tensor) -> Tensor:
    """Sums of squares over each filter's taps: (out, in, k, k) -> (out, in), in float32 whatever the weights are."""
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
    """Convolution whose input channels are scaled by a style and, if ``demodulate``, whose filters then have unit norm.

    Keys ``weight`` (1, out, in, k, k), ``modulation`` (linear layer from the style code).
    """

    energy: Tensor | None

    def __init__(self, cin: int, cout: int, kernel: int, style_dim: int, *, demodulate: bool = True, up: bool = False) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.up = up
        self.register_buffer("energy", None, persistent=False)  # known beforehand once `fold` was called
        self.weight = nn.Parameter(torch.empty(1, cout, cin, kernel, kernel))
        self.modulation = nn.Linear(style_dim, cin)

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve, but leave the demodulation to whoever adds the bias: that is one pass over the picture less.

        Args:
            x: (B, in, H, W).
            code: (B, style_dim).

        Returns:
            (B, out, H, W), twice the size with ``up``, and the factor (B, out, 1, 1) or (1, 1, 1, 1) that it must be multiplied with.
        """
        style, weight = self.modulation(code), self.weight[0]
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = upsample(x)  # scaling and resampling commute: fewer samples are scaled this way round
        y = F.conv2d(x.to(weight.dtype), weight, padding=weight.shape[-1] // 2)
        if not self.demodulate:
            return y, y.new_ones(1, 1, 1, 1)
        return y, demodulation(filter_energy(weight) if self.energy is None else self.energy, style)

    def fold(self) -> nn.Module:
        """Itself, with the filters' energies known beforehand."""
        self.energy = filter_energy(self.weight[0])
        return self


class StyleConv(nn.Module):
    """Modulated 3x3 convolution times sqrt 2, plus noise times its strength ``weight``, plus ``bias``; LReLU(0.2)."""

    def __init__(self, cin: int, cout: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(cin, cout, 3, style_dim, up=up)
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1, cout, 1, 1))

    def forward(self, x: Tensor, code: Tensor, noise: Tensor | None) -> Tensor:
        """``noise`` (B or 1, 1, H, W) of the output's size, None for none."""
        y, factor = self.modulated_conv(x, code)
        y = torch.addcmul(self.bias.to(y.dtype), y, (factor * 2**0.5).to(y.dtype))
        if noise is not None:
            y = y + (self.weight * noise).to(y.dtype)
        return F.leaky_relu(y, 0.2, inplace=True)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB without demodulation, plus ``bias``, plus the picture so far enlarged x2."""

    def __init__(self, cin: int, style_dim: int, *, up: bool = True) -> None:
        super().__init__()
        self.up = up
        self.modulated_conv = ModulatedConv2d(cin, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor, skip: Tensor | None) -> Tensor:
        """-> (B, 3, H, W) float32: the picture is summed over many resolutions."""
        y = self.modulated_conv(x, code)[0].float() + self.bias
        if skip is None:
            return y
        return y + (upsample(skip) if self.up else skip)


class ResBlock(nn.Module):
    """Residual block of the U-Nets around the decoder: 3x3, LReLU(0.2), bilinear x0.5 or x2, 3x3, LReLU(0.2); 1x1 skip without bias.

    Bilinear x0.5 of an even size is the mean of 2x2. The skip's 1x1 convolution and the resampling commute; the cheaper order is run.
    """

    def __init__(self, cin: int, cout: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv1 = nn.Conv2d(cin, cin, 3, padding=1)
        self.conv2 = nn.Conv2d(cin, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        y = upsample(y) if self.up else F.avg_pool2d(y, 2)
        y = F.leaky_relu(self.conv2(y), 0.2, inplace=True)
        return y + (upsample(self.skip(x)) if self.up else self.skip(F.avg_pool2d(x, 2)))
