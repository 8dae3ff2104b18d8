"""Upsample, filter, downsample: StyleGAN2's resampling with a blur kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: One row of the blur; the kernel is its outer product with itself, of sum 1.
TAPS = (1.0, 3.0, 3.0, 1.0)


def blur_kernel(gain: float) -> Tensor:
    """The 4x4 blur kernel times a gain, on the CPU whatever the default device is."""
    taps = torch.tensor(TAPS, device="cpu")
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum() * gain


def upfirdn2d(x: Tensor, kernel: Tensor, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Insert zeros, pad, filter.

    Args:
        x: (B, C, H, W).
        kernel: (k, k), applied flipped (a convolution in the mathematical sense).
        up: ``up - 1`` zeros follow each sample on both axes.
        pad: samples added before and after, on both axes; negative values crop.
    """
    batch, channels, height, width = x.shape
    if up > 1:
        spread = x.new_zeros(batch, channels, height, up, width, up)
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(batch, channels, height * up, width * up)
    x = F.pad(x, (*pad, *pad))
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, groups=channels)


class Blur(nn.Module):
    """`upfirdn2d` with a fixed kernel that the checkpoint holds as ``kernel``."""

    kernel: Tensor

    def __init__(self, pad: tuple[int, int], up: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        self.up = up
        self.register_buffer("kernel", blur_kernel(gain))

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn2d(x, self.kernel, self.up, self.pad)
