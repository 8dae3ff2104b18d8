"""GFPGAN v1.3 and v1.4, "clean" architecture: restores a face, 512x512 (Wang et al., 2021).

Described in docs/networks.md#gfpgan. Attribute names, ``toRGB`` included, are the official checkpoint's keys
(``GFPGANv1.3.pth``, 285 entries).
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.region import Region, View, whole
from retalk_models.layers.stylegan2 import ResBlock, StyleConv, ToRGB, activated, convolved

STYLE_DIM = 512
NUM_LATENTS = 16
#: Channels of the U-Net at 512 px, 256 px, ... 4 px.
UNET_CHANNELS = (32, 64, 128, 256, 256, 256, 256, 256)
#: Channels of the decoder at 4 px, 8 px, ... 512 px.
DECODER_CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64)


class ConstantInput(nn.Module):
    """The learned 4x4 picture that the decoder starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, 4, 4))

    def forward(self, batch: int) -> Tensor:
        """The picture ``batch`` times, in its own memory format, which all that is made of it follows."""
        return torch.cat([self.weight] * batch)


class Noises(nn.Module):
    """Noise pictures stored with the checkpoint: ``noise0`` for ``style_conv1``, ``noise1`` for
    ``style_convs.0``, ...
    """

    def __init__(self) -> None:
        super().__init__()
        for i in range(2 * len(DECODER_CHANNELS) - 1):
            size = 2 ** ((i + 5) // 2)
            self.register_buffer(f"noise{i}", torch.empty(1, 1, size, size))


class Decoder(nn.Module):
    """StyleGAN2 generator whose maps are scaled and shifted on their way by the U-Net (spatial feature
    transform).
    """

    def __init__(self) -> None:
        super().__init__()
        # In the checkpoint, not in the computation: the style codes come ready from the U-Net.
        layers: list[nn.Module] = [nn.Identity()]
        for _ in range(8):
            layers += [nn.Linear(STYLE_DIM, STYLE_DIM), nn.LeakyReLU(0.2)]
        self.style_mlp = nn.Sequential(*layers)
        channels = DECODER_CHANNELS
        self.constant_input = ConstantInput(channels[0])
        self.style_conv1 = StyleConv(channels[0], channels[0], STYLE_DIM)
        self.to_rgb1 = ToRGB(channels[0], STYLE_DIM, up=False)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for cin, cout in itertools.pairwise(channels):
            self.style_convs.append(StyleConv(cin, cout, STYLE_DIM, up=True))
            self.style_convs.append(StyleConv(cout, cout, STYLE_DIM))
            self.to_rgbs.append(ToRGB(cout, STYLE_DIM))
        self.noises = Noises()

    def noise_pictures(self, batch: int, generator: torch.Generator | None) -> list[Tensor]:
        """The stored noise, or fresh standard normal numbers (batch, 1, h, w) from a generator on the CPU."""
        stored = list(self.noises.buffers())
        if generator is None:
            return stored
        return [torch.randn(batch, *n.shape[1:], generator=generator).to(n.device, n.dtype) for n in stored]

    def forward(
        self,
        codes: Tensor,
        scales: list[Tensor],
        shifts: list[Tensor],
        generator: torch.Generator | None,
        parts: list[Region],
    ) -> Tensor:
        """Synthesis.

        Args:
            codes: (B, 16, 512).
            scales: at 8 px ... 512 px, one sample around ``parts``, for the second half of the channels.
            shifts: the same.
            generator: of `noise_pictures`.
            parts: what is needed at 8 px ... 512 px (`parts_of`).

        Returns:
            (B, 3, h, w) of the last part.
        """
        batch = len(codes)
        noise = self.noise_pictures(batch, generator)
        x = View.whole(self.style_conv1(self.constant_input(batch), codes[:, 0], noise[0]))
        skip = View.whole(self.to_rgb1(x, codes[:, 1], None))
        for n, (to_rgb, part) in enumerate(zip(self.to_rgbs, parts, strict=True)):
            i, height, width = 1 + 2 * n, 2 * x.height, 2 * x.width
            around = part.reached(1, height, width)
            first: Any = self.style_convs[2 * n]
            second: Any = self.style_convs[2 * n + 1]
            same, transformed = first.part(x, codes[:, i], noise[i], around).of(around).chunk(2, dim=1)
            x = View(torch.cat([same, transformed * scales[n] + shifts[n]], dim=1), around, height, width)
            x = second.part(x, codes[:, i + 1], noise[i + 1], part).cut(part)
            skip = View(to_rgb(x, codes[:, i + 2], skip), part, height, width)
        return skip.x


def parts_of(region: Region, levels: int, size: int = 512) -> tuple[list[Region], list[Region]]:
    """Regions that must be computed so that a region of the result is exact.

    Args:
        region: of the result.
        levels: resolutions, each half of the one before, from ``size`` down.
        size: of the result.

    Returns:
        Parts of the decoder and of the U-Net's way up at each resolution, the smallest first.
    """
    decoder, unet = [], []
    drawn, conditioned = region, None
    for _ in range(levels):
        # The decoder's second convolution looks one sample further; a condition is needed there, two
        # convolutions from the U-Net.
        around = drawn.reached(3, size, size)
        conditioned = around if conditioned is None else conditioned.joined(around)
        decoder.append(drawn)
        unet.append(conditioned)
        half = size // 2
        drawn = drawn.reached(2, size, size).sources(half, half)
        conditioned, size = ResBlock.sources(conditioned, half, half), half
    return decoder[::-1], unet[::-1]


class Condition(nn.ModuleList):
    """U-Net features to a scale or a shift: 3x3 convolution, LReLU(0.2), 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        super().__init__([convs[0], nn.LeakyReLU(0.2), convs[1]])

    def forward(self, features: View, wanted: Region) -> Tensor:
        """-> (B, channels, h, w) of ``wanted``."""
        first, _, last = self
        assert isinstance(first, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        y = activated(convolved(features, first, wanted.reached(1, features.height, features.width)))
        return convolved(y, last, wanted).of(wanted)


class GFPGAN(nn.Module):
    """Face restoration, 86.4 M parameters."""

    HALF: ClassVar = True
    WINOGRAD: ClassVar = ("",)

    def __init__(self) -> None:
        super().__init__()
        down, up = UNET_CHANNELS, UNET_CHANNELS[::-1]
        self.conv_body_first = nn.Conv2d(3, down[0], 1)
        self.conv_body_down = nn.ModuleList(ResBlock(a, b, up=False) for a, b in itertools.pairwise(down))
        self.final_conv = nn.Conv2d(down[-1], down[-1], 3, padding=1)
        self.conv_body_up = nn.ModuleList(ResBlock(a, b, up=True) for a, b in itertools.pairwise(up))
        self.toRGB = nn.ModuleList(nn.Conv2d(channels, 3, 1) for channels in up[1:])
        self.final_linear = nn.Linear(down[-1] * 4 * 4, NUM_LATENTS * STYLE_DIM)
        self.stylegan_decoder = Decoder()
        self.condition_scale = nn.ModuleList(Condition(channels) for channels in up[1:])
        self.condition_shift = nn.ModuleList(Condition(channels) for channels in up[1:])

    def forward(
        self,
        image: Tensor,
        return_rgb: bool = True,
        generator: torch.Generator | None = None,
        region: Region | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Restore a face.

        Args:
            image: (B, 3, 512, 512) float RGB -1..1, aligned to FFHQ's template.
            return_rgb: also return the U-Net's own pictures (a training aid; they cost little).
            generator: None uses the noise stored with the checkpoint, so that the same picture gives the same
                result; a CPU generator draws fresh noise as the original does.
            region: the part of the result that is wanted: the same numbers there, and for a mouth a third of
                the work. None: all.

        Returns:
            Image (B, 3, 512, 512), or the region's (B, 3, h, w), about -1..1, not clamped; seven pictures of
            8 ... 512 px (or the parts of them that were computed), or none. Float32 RGB.
        """
        wanted = region or whole(image)
        x = F.leaky_relu(self.conv_body_first(image), 0.2)
        skips = []
        for block in self.conv_body_down:
            x = block(x)
            skips.append(x)
        x = F.leaky_relu(self.final_conv(x), 0.2)
        codes = self.final_linear(x.flatten(1)).unflatten(1, (NUM_LATENTS, STYLE_DIM))
        drawn, conditioned = parts_of(wanted, len(self.conv_body_up), image.shape[-1])
        scales, shifts, pictures, features = [], [], [], View.whole(x)
        for i, (block, part, needed) in enumerate(zip(self.conv_body_up, conditioned, drawn, strict=True)):
            assert isinstance(block, ResBlock)
            height, width = features.height, features.width
            sources = ResBlock.sources(part, height, width)
            features = block.part(
                View(features.of(sources) + sources.of(skips.pop()), sources, height, width), part
            )
            around = needed.reached(1, features.height, features.width)
            scales.append(self.condition_scale[i](features, around))
            shifts.append(self.condition_shift[i](features, around))
            if return_rgb:
                pictures.append(self.toRGB[i](features.x).float())
        return self.stylegan_decoder(codes, scales, shifts, generator, drawn), pictures
