"""ParseNet: 19 classes of face parts (GPEN's and facexlib's parser; specification networks-enhance).

Attribute names are the official checkpoint's keys (``ParseNet-latest.pth``, 238 entries).
"""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.conv import UpConv2d
from retalk_models.layers.window import Window

#: What the classes of the mask are, in the order of its channels.
LABELS = (
    *("background", "skin", "nose", "glasses", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "earring", "necklace", "neck", "cloth"),
)
#: Nominal widths 64 ... 1024 are clipped to 256.
CHANNELS = (64, 128, 256, 256, 256)
NUM_RES_BLOCKS = 10
Scale = Literal["none", "up", "down"]


class Norm(nn.Module):
    """BatchNorm under the name ``norm``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class ConvLayer(nn.Module):
    """Nearest x2 if ``up``, reflection padding, 3x3 convolution (stride 2 if ``down``), BatchNorm if ``norm``, LReLU(0.2) if ``relu``."""

    CONV_NORM: ClassVar = (("conv2d", "norm.norm"),)

    def __init__(self, cin: int, cout: int, scale: Scale = "none", *, norm: bool = False, relu: bool = False) -> None:
        super().__init__()
        self.relu = relu
        conv = UpConv2d if scale == "up" else nn.Conv2d
        stride = 2 if scale == "down" else 1
        self.conv2d = conv(cin, cout, 3, stride, padding=1, padding_mode="reflect", bias=not norm)
        self.norm = Norm(cout) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv2d(x))
        return F.leaky_relu(x, 0.2) if self.relu else x


class ResBlock(nn.Module):
    """Two `ConvLayer` s with BatchNorm, plus the input or its ``shortcut_func``. The first enlarges, the second shrinks."""

    def __init__(self, cin: int, cout: int, scale: Scale = "none") -> None:
        super().__init__()
        plain = scale == "none" and cin == cout
        self.shortcut_func = nn.Identity() if plain else ConvLayer(cin, cout, scale)
        self.conv1 = ConvLayer(cin, cout, "up" if scale == "up" else "none", norm=True, relu=True)
        self.conv2 = ConvLayer(cout, cout, "down" if scale == "down" else "none", norm=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_func(x) + self.conv2(self.conv1(x))


class ParseNet(nn.Module):
    """Face parser, 21.3 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(CHANNELS))
        self.encoder = nn.Sequential(ConvLayer(3, CHANNELS[0]), *(ResBlock(a, b, "down") for a, b in pairs))
        self.body = nn.Sequential(*(ResBlock(CHANNELS[-1], CHANNELS[-1]) for _ in range(NUM_RES_BLOCKS)))
        self.decoder = nn.Sequential(*(ResBlock(b, a, "up") for a, b in reversed(pairs)))
        self.out_img_conv = ConvLayer(CHANNELS[0], 3)
        self.out_mask_conv = ConvLayer(CHANNELS[0], len(LABELS))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 512, 512) float RGB -1..1 -> mask logits (B, 19, 512, 512) in the order of `LABELS`, picture (B, 3, 512, 512); float32."""
        x = self.encoder(image)
        x = self.decoder(x + self.body(x))
        return self.out_mask_conv(x).float(), self.out_img_conv(x).float()

    def logits(self, image: Tensor, window: Window | None = None) -> Tensor:
        """The mask alone, of a part of the picture.

        Args:
            image: (B, 3, H, W) float RGB -1..1, H and W multiples of 16; 512 in training.
            window: the part that is wanted; None: all. Of the decoder only what this part depends on is computed.

        Returns:
            Mask logits (B, 19, h, w) of the window, float32.
        """
        height, width = image.shape[-2:]
        wanted = window or Window(0, height, 0, width)
        plans = []
        part = wanted.grown(1, height, width)  # what `out_mask_conv` needs
        for _ in self.decoder:
            first = part.grown(2, height, width)  # two convolutions; nearest enlargement spoils nothing
            plans.append((first, part))
            part, height, width = first.halved(), height // 2, width // 2
        x = self.encoder(image)
        x, seen = x + self.body(x), Window(0, height, 0, width)
        for block, (first, part) in zip(self.decoder, reversed(plans), strict=True):
            x, seen = part.of(block(first.halved().of(x, seen)), first), part
        return wanted.of(self.out_mask_conv(x).float(), seen)
