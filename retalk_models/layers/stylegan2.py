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


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """Reciprocal norms of the modulated filters.

    Args:
        weight: (out, in, k, k).
        style: (B, in) scales of the input channels.

    Returns:
        (B, out), in float32 whatever the weights are: sums of some thousand squares.
    """
    energy = weight.float().square().sum(dim=(2, 3))  # (out, in)
    return torch.rsqrt(F.linear(style.float().square(), energy) + 1e-8)


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by a style and, if ``demodulate``, whose filters then have unit norm.

    Keys ``weight`` (1, out, in, k, k), ``modulation`` (linear layer from the style code).
    """

    def __init__(self, cin: int, cout: int, kernel: int, style_dim: int, *, demodulate: bool = True, up: bool = False) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.up = up
        self.weight = nn.Parameter(torch.empty(1, cout, cin, kernel, kernel))
        self.modulation = nn.Linear(style_dim, cin)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """``x`` (B, in, H, W), ``code`` (B, style_dim) -> (B, out, H, W), twice the size with ``up``."""
        style, weight = self.modulation(code), self.weight[0]
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = upsample(x)
        y = F.conv2d(x.to(weight.dtype), weight, padding=weight.shape[-1] // 2)
        return y * demodulation(weight, style)[:, :, None, None].to(y.dtype) if self.demodulate else y


class StyleConv(nn.Module):
    """Modulated 3x3 convolution times sqrt 2, plus noise times its strength ``weight``, plus ``bias``; LReLU(0.2)."""

    def __init__(self, cin: int, cout: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(cin, cout, 3, style_dim, up=up)
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1, cout, 1, 1))

    def forward(self, x: Tensor, code: Tensor, noise: Tensor | None) -> Tensor:
        """``noise`` (B or 1, 1, H, W) of the output's size, None for none."""
        y = torch.add(self.bias.to(x.dtype), self.modulated_conv(x, code), alpha=2**0.5)
        if noise is not None:
            y = y + (self.weight * noise).to(y.dtype)
        return F.leaky_relu(y, 0.2)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB without demodulation, plus ``bias``, plus the picture so far enlarged x2."""

    def __init__(self, cin: int, style_dim: int, *, up: bool = True) -> None:
        super().__init__()
        self.up = up
        self.modulated_conv = ModulatedConv2d(cin, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor, skip: Tensor | None) -> Tensor:
        """-> (B, 3, H, W) float32: the picture is summed over many resolutions."""
        y = self.modulated_conv(x, code).float() + self.bias
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
        y = F.leaky_relu(self.conv1(x), 0.2)
        y = upsample(y) if self.up else F.avg_pool2d(y, 2)
        y = F.leaky_relu(self.conv2(y), 0.2)
        return y + (upsample(self.skip(x)) if self.up else self.skip(F.avg_pool2d(x, 2)))
