"""ParseNet: 19 classes of face parts (GPEN's and facexlib's parser).

Described in docs/networks.md#parsenet. Attribute names are the official checkpoint's keys
(``ParseNet-latest.pth``, 238 entries).
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers import winograd
from retalk_models.layers.conv import PhaseUpConv2d, UpConv2d
from retalk_models.layers.padding import padded
from retalk_models.layers.region import Region, View, whole

#: Classes of the mask in the order of its channels.
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
    """Nearest x2 if ``up``, reflection padding, 3x3 convolution (stride 2 if ``down``), BatchNorm if
    ``norm``, LReLU(0.2) if ``relu``.
    """

    CONV_NORM: ClassVar = (("conv2d", "norm.norm"),)

    def __init__(
        self, cin: int, cout: int, scale: Scale = "none", *, norm: bool = False, relu: bool = False
    ) -> None:
        super().__init__()
        self.relu = relu
        conv = UpConv2d if scale == "up" else nn.Conv2d
        stride = 2 if scale == "down" else 1
        self.conv2d = conv(cin, cout, 3, stride, padding=1, padding_mode="reflect", bias=not norm)
        self.norm = Norm(cout) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        ordinary = type(self.conv2d) is nn.Conv2d
        return self.finished(self.convolved(x, (1, 1)) if ordinary else self.conv2d(x))

    def convolved(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """A convolution that does not enlarge with so many samples reflected above and below, left and right."""
        rows, columns = padding
        around = padded(x, columns, columns, rows, rows, "reflect") if any(padding) else x
        if self.conv2d.stride != (1, 1):
            return F.conv2d(around, self.conv2d.weight, self.conv2d.bias, self.conv2d.stride)
        return winograd.run(self.conv2d, around, (0, 0))

    def finished(self, x: Tensor) -> Tensor:
        """Norm and activation."""
        x = self.norm(x)
        return F.leaky_relu(x, 0.2, inplace=True) if self.relu else x

    def part(self, view: View, wanted: Region) -> View:
        """`forward`, not of a layer that shrinks, where only ``wanted`` of the result is needed."""
        conv: Any = self.conv2d
        if isinstance(conv, UpConv2d | PhaseUpConv2d):
            # Nearest enlargement spoils nothing, the convolution behind it looks one sample further.
            part = view.cut(enlarged_from(wanted, view.height, view.width))
            return View(self.finished(conv(part.x)), part.seen.doubled(), 2 * view.height, 2 * view.width)

        made = view.convolved(self.convolved, wanted)
        return made._replace(x=self.finished(made.x))


def enlarged_from(wanted: Region, height: int, width: int) -> Region:
    """Part of a picture of this size that a convolution behind nearest enlargement x2 needs for ``wanted``."""
    return wanted.grown(1, 2 * height, 2 * width).halved()


class ResBlock(nn.Module):
    """Two `ConvLayer` s with BatchNorm, plus the input or its ``shortcut_func``. The first enlarges, the
    second shrinks.
    """

    def __init__(self, cin: int, cout: int, scale: Scale = "none") -> None:
        super().__init__()
        plain = scale == "none" and cin == cout
        self.shortcut_func = nn.Identity() if plain else ConvLayer(cin, cout, scale)
        self.conv1 = ConvLayer(cin, cout, "up" if scale == "up" else "none", norm=True, relu=True)
        self.conv2 = ConvLayer(cout, cout, "down" if scale == "down" else "none", norm=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_func(x) + self.conv2(self.conv1(x))

    def part(self, view: View, wanted: Region) -> View:
        """`forward` of a block that enlarges where only ``wanted`` of the result is needed, which is what it
        shows.
        """
        y = self.conv2.part(self.conv1.part(view, wanted.reached(1, 2 * view.height, 2 * view.width)), wanted)
        shortcut: Any = self.shortcut_func
        return y._replace(x=shortcut.part(view, wanted).of(wanted) + y.of(wanted), seen=wanted)

    @staticmethod
    def sources(wanted: Region, height: int, width: int) -> Region:
        """Part of an input of this size that ``wanted`` of the enlarged result depends on."""
        return enlarged_from(wanted.reached(1, 2 * height, 2 * width), height, width)


class Encoder(nn.Sequential):
    """A `ConvLayer` and blocks that shrink."""

    def fold(self) -> nn.Module:
        """The same with fewer products."""
        return FoldedEncoder(self)


class FoldedEncoder(nn.Module):
    """`Encoder` whose first layer, which nothing follows but convolutions, is part of them: of 3 channels and
    width 5 instead of 64 and 3.

    At the border they are not the same, for features are reflected there and not the picture: the outermost
        samples are computed as before.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        first, block, *rest = encoder
        assert isinstance(first, ConvLayer)
        assert isinstance(block, ResBlock)
        assert isinstance(block.shortcut_func, ConvLayer)
        self.first, self.conv1, self.conv2, self.shortcut = (
            first,
            block.conv1,
            block.conv2,
            block.shortcut_func,
        )
        self.conv1_inside = composed(first.conv2d, block.conv1.conv2d)
        self.shortcut_inside = composed(first.conv2d, block.shortcut_func.conv2d)
        self.rest = nn.Sequential(*rest)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 256, H/16, W/16)."""
        around = padded(image, 1, 1, 1, 1, "reflect")
        y, shortcut = self.conv1_inside(around), self.shortcut_inside(around)
        for axis in (2, 3):
            last = image.shape[axis] - 1
            start = self.first(image.narrow(axis, 0, 3)).narrow(axis, 0, 2)
            stop = self.first(image.narrow(axis, last - 2, 3)).narrow(axis, 1, 2)
            y.narrow(axis, 0, 1).copy_(self.conv1.conv2d(start).narrow(axis, 0, 1))
            y.narrow(axis, last, 1).copy_(self.conv1.conv2d(stop).narrow(axis, 1, 1))
            # With steps of two the last one does not reach the other border.
            shortcut.narrow(axis, 0, 1).copy_(self.shortcut.conv2d(start))
        return self.rest(shortcut + self.conv2(self.conv1.finished(y)))


def composed(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """Two 3x3 convolutions in a row as one of width 5, for a picture that the first one's padding already
    surrounds.
    """
    a, b = first.weight.detach().double(), second.weight.detach().double()
    weight = F.conv2d(a.transpose(0, 1), b.flip(2, 3), padding=2).transpose(0, 1)
    bias = b.new_zeros(len(b)) if second.bias is None else second.bias.detach().double()
    if first.bias is not None:
        bias = bias + b.sum((2, 3)) @ first.bias.detach().double()
    conv = nn.Conv2d(weight.shape[1], len(weight), 5, second.stride[0], padding=1, device="meta")
    conv.weight = nn.Parameter(weight.to(first.weight).contiguous(), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(first.weight), requires_grad=False)
    return conv


class ParseNet(nn.Module):
    """Face parser, 21.3 M parameters."""

    HALF: ClassVar = True
    ENTRIES: ClassVar = ("forward", "logits")
    WINOGRAD: ClassVar = ("",)

    def __init__(self) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(CHANNELS))
        self.encoder = Encoder(ConvLayer(3, CHANNELS[0]), *(ResBlock(a, b, "down") for a, b in pairs))
        self.body = nn.Sequential(*(ResBlock(CHANNELS[-1], CHANNELS[-1]) for _ in range(NUM_RES_BLOCKS)))
        self.decoder = nn.Sequential(*(ResBlock(b, a, "up") for a, b in reversed(pairs)))
        self.out_img_conv = ConvLayer(CHANNELS[0], 3)
        self.out_mask_conv = ConvLayer(CHANNELS[0], len(LABELS))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 512, 512) float RGB -1..1 -> mask logits (B, 19, 512, 512) in the order of `LABELS`, picture
        (B, 3, 512, 512); float32.
        """
        x = self.encoder(image)
        x = self.decoder(x + self.body(x))
        return self.out_mask_conv(x).float(), self.out_img_conv(x).float()

    def logits(self, image: Tensor, region: Region | None = None) -> Tensor:
        """The mask alone, of a part of the picture.

        Args:
            image: (B, 3, H, W) float RGB -1..1, H and W multiples of 16; 512 in training.
            region: the part that is wanted; None: all. Of the decoder only what this part depends on is
                computed.

        Returns:
            Mask logits (B, 19, h, w) of the region, float32.
        """
        height, width = image.shape[-2:]
        wanted = region or whole(image)
        parts = [wanted.reached(1, height, width)]  # what `out_mask_conv` needs
        for _ in range(len(self.decoder) - 1):
            height, width = height // 2, width // 2
            parts.append(ResBlock.sources(parts[-1], height, width))
        x = self.encoder(image)
        view = View.whole(x + self.body(x))
        for block, part in zip(self.decoder, reversed(parts), strict=True):
            step: Any = block
            view = step.part(view, part)
        mask: Any = self.out_mask_conv
        return mask.part(view, wanted).of(wanted).float()
