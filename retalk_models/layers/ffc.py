"""Fast Fourier convolution (Chi et al., 2020) as L-Net uses it: a local and a global half, the global one
seeing the whole picture.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.norms import AdaIN, FoldedAdaIN
from retalk_models.layers.padding import padded


class FourierUnit(nn.Module):
    """A 1x1 convolution on the spectrum: real and imaginary parts interleaved on channels (c0 re, c0 im, c1
    re, ...).
    """

    CONV_NORM: ClassVar = (("conv_layer", "bn"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        # torch has no half-precision transform of such sizes, and the spectrum's range asks for float32
        # anyway.
        spectrum = torch.view_as_real(torch.fft.rfft2(x.float(), norm="ortho"))  # (B, C, H, W/2+1, 2)
        y = spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2)  # (B, 2C, H, W/2+1)
        y = F.relu(self.bn(self.conv_layer(y.to(x.dtype)))).float()
        y = y.unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2).contiguous()
        return torch.fft.irfft2(torch.view_as_complex(y), s=x.shape[-2:], norm="ortho").to(x.dtype)


class SpectralTransform(nn.Module):
    """Global to global: 1x1 convolution to half the channels, `FourierUnit` added, 1x1 convolution back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Sequential(nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.fu = FourierUnit(half)
        self.conv2 = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(x + self.fu(x))


class FFC(nn.Module):
    """One Fourier convolution: local and global channels in, local and global channels out."""

    def __init__(self, local: int, global_: int) -> None:
        super().__init__()

        def conv(cin: int, cout: int) -> nn.Conv2d:
            return nn.Conv2d(cin, cout, 3, padding=1, padding_mode="reflect", bias=False)

        self.convl2l = conv(local, local)
        self.convl2g = conv(local, global_)
        self.convg2l = conv(global_, local)
        self.convg2g = SpectralTransform(global_)

    def forward(self, local: Tensor, global_: Tensor) -> tuple[Tensor, Tensor]:
        return (
            self.convl2l(local) + self.convg2l(global_),
            self.convl2g(local) + self.convg2g(global_),
        )


class FFCLayer(nn.Module):
    """`FFC`, then adaptive instance norm and LReLU on each half. The slope is 0.01 here, not the 0.1 of the
    rest of L-Net.
    """

    def __init__(self, local: int, global_: int, features: int) -> None:
        super().__init__()
        self.ffc = FFC(local, global_)
        self.bn_l = AdaIN(local, features)
        self.bn_g = AdaIN(global_, features)

    def forward(self, local: Tensor, global_: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        local, global_ = self.ffc(local, global_)
        return F.leaky_relu(self.bn_l(local, feature), 0.01), F.leaky_relu(self.bn_g(global_, feature), 0.01)


class FFCBlock(nn.Module):
    """Residual block of two `FFCLayer` s; the first quarter of the channels is local, the rest global. No
    activation after the sum.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        global_ = int(0.75 * channels)
        local = channels - global_
        self.split = [local, global_]
        self.conv1 = FFCLayer(local, global_, features)
        self.conv2 = FFCLayer(local, global_, features)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        local, global_ = x.split(self.split, dim=1)
        local, global_ = self.conv1(local, global_, feature)
        local, global_ = self.conv2(local, global_, feature)
        return x + torch.cat([local, global_], dim=1)

    def fold(self) -> nn.Module:
        """The same on undivided channels."""
        return FoldedFFCBlock(self)


class FoldedFFCLayer(nn.Module):
    """`FFCLayer` on undivided channels: padded once, two 3x3 convolutions instead of three, one norm instead
    of two.
    """

    def __init__(self, layer: FFCLayer) -> None:
        super().__init__()
        ffc = layer.ffc
        self.num_local = ffc.convl2l.out_channels
        self.to_local = without_padding(torch.cat([ffc.convl2l.weight, ffc.convg2l.weight], dim=1))
        self.local_to_global = without_padding(ffc.convl2g.weight)
        self.global_to_global = ffc.convg2g
        self.norm = FoldedAdaIN([layer.bn_l, layer.bn_g])

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        around = padded(x, 1, 1, 1, 1, "reflect")
        global_ = self.local_to_global(around[:, : self.num_local]) + self.global_to_global(
            x[:, self.num_local :]
        )
        y = torch.cat([self.to_local(around), global_], dim=1)
        return F.leaky_relu(self.norm(y, feature), 0.01, inplace=True)


class FoldedFFCBlock(nn.Module):
    """`FFCBlock` of two `FoldedFFCLayer` s."""

    def __init__(self, block: FFCBlock) -> None:
        super().__init__()
        self.conv1 = FoldedFFCLayer(block.conv1)
        self.conv2 = FoldedFFCLayer(block.conv2)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x, feature), feature)


def without_padding(weight: Tensor) -> nn.Conv2d:
    """A convolution of given weights on an input that is padded already."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=False, device="meta")
    conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return conv
