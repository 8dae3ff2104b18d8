"""GPEN-BFR-512: enhances the reference face, 512x512 (Yang et al., 2021).

StyleGAN2 in its original form: equalised learning rate, blur resampling, fused leaky ReLU; the encoder's maps
take the place of the noise. Described in docs/networks.md#gpen. Attribute names are the official checkpoint's
keys (``GPEN-BFR-512.pth``, 163 entries).
"""

from __future__ import annotations

import itertools
import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.stylegan2 import demodulation, filter_energy
from retalk_models.layers.upfirdn import Blur

STYLE_DIM = 512
#: Channels at 4 px, 8 px, ... 512 px.
CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64)


def fused_leaky_relu(x: Tensor, bias: Tensor) -> Tensor:
    """sqrt 2 * LReLU(0.2) of ``x`` + ``bias`` (one a channel)."""
    return F.leaky_relu(
        x + bias.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2)), 0.2, inplace=True
    ) * math.sqrt(2)


class FusedLeakyReLU(nn.Module):
    """`fused_leaky_relu` with a learned bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return fused_leaky_relu(x, self.bias)


class Equalised(nn.Module):
    """A layer of equalised learning rate: its stored ``weight`` counts ``scale`` times."""

    scale: float
    weight: nn.Parameter

    def scaled_weight(self) -> Tensor:
        """The weight that is used."""
        return self.weight if self.scale == 1 else self.weight * self.scale

    def fold(self) -> nn.Module:
        """Itself, with the scale inside the weight."""
        self.weight, self.scale = nn.Parameter(self.scaled_weight().detach(), requires_grad=False), 1.0
        return self


class EqualConv2d(Equalised):
    """Convolution without bias, its weight divided by the root of its fan-in."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.scale = 1 / math.sqrt(cin * kernel**2)
        self.weight = nn.Parameter(torch.empty(cout, cin, kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.scaled_weight(), stride=self.stride)


class EqualLinear(Equalised):
    """Linear layer of learning rate ``lr``, with `fused_leaky_relu` if ``activation``."""

    def __init__(self, cin: int, cout: int, lr: float = 1.0, *, activation: bool = False) -> None:
        super().__init__()
        self.lr = lr
        self.scale = lr / math.sqrt(cin)
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(cout, cin))
        self.bias = nn.Parameter(torch.empty(cout))

    def forward(self, x: Tensor) -> Tensor:
        if self.activation:
            return fused_leaky_relu(F.linear(x, self.scaled_weight()), self.bias * self.lr)
        return F.linear(x, self.scaled_weight(), self.bias * self.lr)


class PixelNorm(nn.Module):
    """Root mean square over the features becomes 1."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(dim=1, keepdim=True) + 1e-8)).to(x.dtype)


class ModulatedConv2d(Equalised):
    """Modulated convolution of equalised learning rate; with ``up`` a transposed one (stride 2) and a blur.

    As in `retalk_models.layers.stylegan2` the activations are scaled, not each sample's weights.
    """

    energy: Tensor | None

    def __init__(self, cin: int, cout: int, kernel: int, *, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.scale = 1 / math.sqrt(cin * kernel**2)
        self.register_buffer("energy", None, persistent=False)  # known beforehand once `fold` was called
        self.weight = nn.Parameter(torch.empty(1, cout, cin, kernel, kernel))
        if up:
            self.blur = Blur((1, 1), gain=4.0)  # what zero insertion takes away
        self.modulation = EqualLinear(STYLE_DIM, cin)

    def forward(self, x: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """-> the convolved picture before demodulation, and the style (B, in)."""
        style, weight = self.modulation(latent), self.scaled_weight()[0]
        x = (x * style[:, :, None, None].to(x.dtype)).to(weight.dtype)
        if self.up:
            return self.blur(
                F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            ), style  # H -> 2H + 1 -> 2H
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2), style

    def demodulation(self, style: Tensor) -> Tensor:
        """The factor (B, out, 1, 1) that gives the modulated filters unit norm. The blur lets it pass."""
        return demodulation(
            filter_energy(self.scaled_weight()[0]) if self.energy is None else self.energy, style
        )

    def fold(self) -> nn.Module:
        """Itself, with the scale inside the weight and the filters' energies known beforehand."""
        super().fold()
        self.energy = filter_energy(self.weight[0])
        return self


class NoiseInjection(nn.Module):
    """Strength of the encoder map that `StyledConv` concatenates."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1))


class StyledConv(nn.Module):
    """Modulated convolution, encoder map times its strength behind it, fused leaky ReLU: 2 * ``cout``
    channels come out.
    """

    def __init__(self, cin: int, cout: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(cin, cout, 3, up=up)
        self.noise = NoiseInjection()
        self.activate = FusedLeakyReLU(2 * cout)

    def forward(self, x: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        y, style = self.conv(x, latent)
        # sqrt 2 * LReLU(a) = LReLU(sqrt 2 * a): demodulation, strength, bias and gain in one pass over each
        # half.
        bias_y, bias_noise = (
            (self.activate.bias.to(y.dtype) * math.sqrt(2)).reshape(1, -1, 1, 1).chunk(2, dim=1)
        )
        y = torch.addcmul(bias_y, y, (self.conv.demodulation(style) * math.sqrt(2)).to(y.dtype))
        noise = torch.addcmul(bias_noise, noise.to(y.dtype), (self.noise.weight * math.sqrt(2)).to(y.dtype))
        return F.leaky_relu(torch.cat([y, noise], dim=1), 0.2, inplace=True)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB without demodulation, plus ``bias``, plus the picture so far enlarged
    x2 with the blur kernel.
    """

    def __init__(self, cin: int, *, up: bool = True) -> None:
        super().__init__()
        if up:
            self.upsample = Blur((2, 1), up=2, gain=4.0)
        self.conv = ModulatedConv2d(cin, 3, 1)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, latent: Tensor, skip: Tensor | None) -> Tensor:
        """-> (B, 3, H, W) float32: the picture is summed over many resolutions."""
        y = self.conv(x, latent)[0].float() + self.bias
        return y if skip is None else y + self.upsample(skip)


class ConstantInput(nn.Module):
    """The learned 4x4 picture that the generator starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.empty(1, channels, 4, 4))

    def forward(self, batch: int) -> Tensor:
        """The picture ``batch`` times, in its own memory format, which all that is made of it follows."""
        return torch.cat([self.input] * batch)


class Generator(nn.Module):
    """Mapping network and synthesis network."""

    def __init__(self) -> None:
        super().__init__()
        mapping = (EqualLinear(STYLE_DIM, STYLE_DIM, 0.01, activation=True) for _ in range(8))
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(CHANNELS[0])
        self.conv1 = StyledConv(CHANNELS[0], CHANNELS[0])
        self.to_rgb1 = ToRGB(2 * CHANNELS[0], up=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for cin, cout in itertools.pairwise(CHANNELS):
            self.convs.append(StyledConv(2 * cin, cout, up=True))
            self.convs.append(StyledConv(2 * cout, cout))
            self.to_rgbs.append(ToRGB(2 * cout))

    def forward(self, code: Tensor, noises: list[Tensor]) -> Tensor:
        """``code`` (B, 512), ``noises`` the encoder's maps, 4 px first -> (B, 3, 512, 512)."""
        latent = self.style(code)
        x = self.conv1(self.input(len(code)), latent, noises[0])
        skip = self.to_rgb1(x, latent, None)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, latent, noises[i + 1])
            x = self.convs[2 * i + 1](x, latent, noises[i + 1])
            skip = to_rgb(x, latent, skip)
        return skip


class GPEN(nn.Module):
    """Face enhancement, 71.0 M parameters."""

    HALF: ClassVar = True

    def __init__(self) -> None:
        super().__init__()
        self.generator = Generator()
        channels = CHANNELS[::-1]  # 512 px ... 4 px
        self.num_levels = len(channels)
        self.ecd0 = nn.Sequential(nn.Sequential(EqualConv2d(3, channels[0], 1), FusedLeakyReLU(channels[0])))
        for i, (cin, cout) in enumerate(itertools.pairwise(channels), 1):
            step = nn.Sequential(Blur((2, 2)), EqualConv2d(cin, cout, 3, stride=2), FusedLeakyReLU(cout))
            self.add_module(f"ecd{i}", nn.Sequential(step))
        self.final_linear = nn.Sequential(EqualLinear(channels[-1] * 4 * 4, STYLE_DIM, activation=True))

    def forward(self, image: Tensor) -> tuple[Tensor, None]:
        """(B, 3, 512, 512) float RGB -1..1, aligned -> (B, 3, 512, 512) float32 about -1..1, not clamped, and
        None (latents, unused).
        """
        x, maps = image, []
        for i in range(self.num_levels):
            x = self.get_submodule(f"ecd{i}")(x)
            maps.append(x)
        return self.generator(self.final_linear(x.flatten(1)), maps[::-1]), None
