"""E-Net: L-Net's 96x96 mouth -> a 384x384 face with the identity of a reference (VideoReTalking).

Described in docs/networks.md#e-net. Attribute names are the official checkpoint's keys
(``ENet.pth``; its ``low_res.*`` entries are not used, those of ``LNet.pth`` are).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.region import Region, View
from retalk_models.layers.stylegan2 import ResBlock, StyleConv, ToRGB
from retalk_models.networks.lnet import LNet

STYLE_DIM = 512
STYLE_SIZE = 256  # the reference is read at this size
LOW_SIZE = 96  # L-Net's size
PADDING = 2  # reflected around the low-resolution picture; grows x4, then cropped off


def resize(x: Tensor, size: int) -> Tensor:
    """Bilinear without antialiasing: samples, does not average, when it shrinks."""
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def drawn_parts(region: Region, levels: int, height: int, width: int) -> list[Region]:
    """Region of each resolution that makes a region of the last, ``height`` x ``width``, exact; the smallest
    first.
    """
    parts = [region]
    for _ in range(levels - 1):
        around = parts[0].reached(2, height, width)  # two convolutions
        height, width = height // 2, width // 2
        parts.insert(0, around.sources(height, width))
    return parts


class ENet(nn.Module):
    """Identity-aware enhancement, 31.2 M parameters plus those of L-Net.

    Two stages: `lowres` (L-Net's part) and `enhance` (its own part); ``forward`` is one after the other.

    Args:
        low_res: False leaves L-Net out, for a stage that only enhances: then there is no `lowres`.
        reading: channels of the part that reads the reference, 256 px down to 4 px; official checkpoints have
            the defaults.
        drawing: channels of the two stages that draw, 192 and 384 px.
    """

    HALF: ClassVar = True
    ENTRIES: ClassVar = ("forward", "lowres", "enhance", "style_code", "draw")
    WINOGRAD: ClassVar = ("conv_body_down", "style_convs")

    def __init__(
        self,
        low_res: bool = True,
        reading: Sequence[int] = (256, 256, 512, 512, 512, 512, 512),
        drawing: Sequence[int] = (256, 128),
    ) -> None:
        super().__init__()
        if low_res:
            self.low_res = LNet()
        channels = list(reading)
        self.conv_body_first = nn.Conv2d(3, channels[0], 1)
        self.conv_body_down = nn.ModuleList(ResBlock(a, b, up=False) for a, b in itertools.pairwise(channels))
        self.final_linear = nn.Linear(channels[-1] * 4 * 4, STYLE_DIM)
        self.final_conv = nn.Conv2d(channels[-1], channels[-1], 3, padding=1)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        cin = 3  # the first style convolution takes the picture itself
        for cout in drawing:
            self.style_convs.append(StyleConv(cin, cout, STYLE_DIM, up=True))
            self.style_convs.append(StyleConv(cout, cout, STYLE_DIM))
            self.to_rgbs.append(ToRGB(cout, STYLE_DIM))
            cin = cout

    def style_code(self, reference: Tensor) -> Tensor:
        """Identity of a reference picture: (B, 3, H, W) RGB 0..1 of any size -> (B, 512)."""
        x = F.leaky_relu(self.conv_body_first(resize(reference, STYLE_SIZE)), 0.2)
        for block in self.conv_body_down:
            x = block(x)
        return self.final_linear(F.leaky_relu(self.final_conv(x), 0.2).flatten(1))

    def lowres(self, mel: Tensor, faces: Tensor, gt: Tensor | None = None) -> Tensor:
        """L-Net's part: the speaking face at low resolution.

        Args:
            mel: (B, 1, 80, 16) float, log-mel windows.
            faces: (B, 6, H, W) float RGB 0..1, 384x384 in use: masked face, reference.
            gt: (B, 3, H, W) picture given to L-Net as its reference; None: channels 3-5 of ``faces``, as at
                inference.

        Returns:
            (B, 3, 96, 96) float32 RGB 0..1.
        """
        gt = faces[:, 3:] if gt is None else gt
        return self.low_res(mel, resize(torch.cat([faces[:, :3], gt], dim=1), LOW_SIZE))

    def enhance(
        self, low: Tensor, faces: Tensor, noises: Sequence[Tensor] | None = None, top: int = 0
    ) -> Tensor:
        """E-Net's own part.

        Args:
            low: (B, 3, 96, 96) float RGB 0..1, from `lowres` or from L-Net itself.
            faces: (B, 6, H, W) float RGB 0..1; only the reference, channels 3-5, is read.
            noises: four pictures (B or 1, 1, h, w) with h = w = 200, 200, 400, 400, scaled by the
                checkpoint's noise strengths. The original draws fresh standard normal numbers at every call;
                None adds none: the same inputs give the same output.
            top: first row of the result that is wanted, a multiple of 4: the rows above, on which it does not
                depend, are not computed.

        Returns:
            (B, 3, 384 - top, 384) float32 RGB about 0..1, not clamped.
        """
        return self.draw(low, self.style_code(faces[:, 3:]), noises, top)

    def draw(self, low: Tensor, code: Tensor, noises: Sequence[Tensor] | None = None, top: int = 0) -> Tensor:
        """`enhance` with an identity that is known already: it depends on the reference alone, not on what is
        said.

        Args:
            low: (B, 3, 96, 96).
            code: (B, 512) from `style_code`.
            noises: as in `enhance`.
            top: as in `enhance`.
        """
        scale = 2 ** len(self.to_rgbs)
        assert top % scale == 0, top
        x = skip = View.whole(F.pad(low, (PADDING,) * 4, mode="reflect"))
        crop, (height, width) = PADDING * scale, (x.height * scale, x.width * scale)
        result = Region(crop + top, height - crop, crop, width - crop)
        # The whole face is computed with its border, as the original does.
        parts = drawn_parts(result if top else Region(0, height, 0, width), len(self.to_rgbs), height, width)
        noise = iter([None] * len(self.style_convs) if noises is None else noises)
        for i, (to_rgb, part) in enumerate(zip(self.to_rgbs, parts, strict=True)):
            around = part.reached(1, 2 * x.height, 2 * x.width)
            first: Any = self.style_convs[2 * i]
            second: Any = self.style_convs[2 * i + 1]
            x = second.part(first.part(x, code, next(noise), around), code, next(noise), part).cut(part)
            skip = x._replace(x=to_rgb(x, code, skip))
        return skip.of(result)

    def forward(
        self, mel: Tensor, faces: Tensor, gt: Tensor | None = None, noises: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """`lowres`, then `enhance`.

        Returns:
            Image (B, 3, 384, 384) about 0..1, not clamped; low-resolution picture (B, 3, 96, 96) 0..1. Both
            float32 RGB.
        """
        low = self.lowres(mel, faces, gt)
        return self.enhance(low, faces, noises), low
