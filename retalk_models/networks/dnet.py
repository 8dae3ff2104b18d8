"""D-Net: a face and a window of 3DMM coefficients -> the face with that expression, 256x256.

A flow moves the picture, then a network repairs it (PIRenderer's design). Described in
docs/networks.md#d-net. Attribute names, ``warpping_net`` included, are the official checkpoint's keys
(``DNet.pt``, 304 entries).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.conv import ConvNorm, FinalConv
from retalk_models.layers.norms import AdaIN, LayerNorm2d

DESCRIPTOR = 256
SLOPE = 0.1


class MappingNet(nn.Module):
    """Coefficient window (B, 73, 26) -> descriptor (B, 256, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(73, DESCRIPTOR, 7))
        for i in range(3):
            self.add_module(
                f"encoder{i}",
                nn.Sequential(nn.LeakyReLU(SLOPE), nn.Conv1d(DESCRIPTOR, DESCRIPTOR, 3, dilation=3)),
            )

    def forward(self, coeff: Tensor) -> Tensor:
        x = self.first(coeff)  # 26 -> 20 frames
        for i in range(3):
            x = self.get_submodule(f"encoder{i}")(x) + x[:, :, 3:-3]  # 20 -> 14 -> 8 -> 2
        return x.mean(dim=2, keepdim=True)


class DownBlock(nn.Module):
    """Two convolutions, each after `AdaIN` and LReLU; the first halves the size."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(cin, cout, 4, stride=2, padding=1)
        self.conv_1 = nn.Conv2d(cout, cout, 3, padding=1)
        self.norm_0 = AdaIN(cin, DESCRIPTOR)
        self.norm_1 = AdaIN(cout, DESCRIPTOR)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = self.conv_0(F.leaky_relu(self.norm_0(x, z), SLOPE))
        return self.conv_1(F.leaky_relu(self.norm_1(x, z), SLOPE))


class UpBlock(nn.Module):
    """Residual block that doubles the size with transposed convolutions; each convolution after `AdaIN` and
    LReLU.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv_1 = nn.ConvTranspose2d(cout, cout, 3, 2, padding=1, output_padding=1)
        self.conv_s = nn.ConvTranspose2d(cin, cout, 3, 2, padding=1, output_padding=1)
        self.norm_0 = AdaIN(cin, DESCRIPTOR)
        self.norm_1 = AdaIN(cout, DESCRIPTOR)
        self.norm_s = AdaIN(cin, DESCRIPTOR)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        y = self.conv_0(F.leaky_relu(self.norm_0(x, z), SLOPE))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, z), SLOPE))
        return y + self.conv_s(F.leaky_relu(self.norm_s(x, z), SLOPE))


class HourglassEncoder(nn.Module):
    """Six feature maps of the picture, 256 px down to 8 px."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.input_layer = nn.Conv2d(3, channels[0], 7, padding=3)
        self.num_blocks = len(channels) - 1
        for i in range(self.num_blocks):
            self.add_module(f"encoder{i}", DownBlock(channels[i], channels[i + 1]))

    def forward(self, image: Tensor, z: Tensor) -> list[Tensor]:
        maps = [self.input_layer(image)]
        for i in range(self.num_blocks):
            maps.append(self.get_submodule(f"encoder{i}")(maps[-1], z))
        return maps


class HourglassDecoder(nn.Module):
    """Decoder from 8 to 64 px; the encoder's map of the same size is concatenated to each block's output."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.decoder4 = UpBlock(channels[5], channels[4])
        self.decoder3 = UpBlock(2 * channels[4], channels[3])
        self.decoder2 = UpBlock(2 * channels[3], channels[2])

    def forward(self, maps: list[Tensor], z: Tensor) -> Tensor:
        x = maps[-1]
        for block, skip in zip([self.decoder4, self.decoder3, self.decoder2], maps[-2::-1]):
            x = torch.cat([block(x, z), skip], dim=1)
        return x


class Hourglass(nn.Module):
    """Encoder and decoder: picture (B, 3, 256, 256) -> features (B, 256, 64, 64)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = HourglassEncoder(channels)
        self.decoder = HourglassDecoder(channels)

    def forward(self, image: Tensor, z: Tensor) -> Tensor:
        return self.decoder(self.encoder(image, z), z)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Move a picture by a flow.

    The flow's grid has its corners at -1 and 1, `grid_sample` here takes the outer edges for -1 and 1: the
    original mixes the two, so that a zero flow is not the identity, and its weights were trained so.

    Args:
        image: (B, 3, H, W).
        flow: (B, 2, h, w) in pixels of its own grid, x first.
    """
    # float32: bfloat16 could not tell neighbouring pixels apart.
    # Made on the device: a copy from the host would keep the call out of a CUDA graph.
    steps = torch.stack([flow.new_full((1, 1), n - 1, dtype=torch.float32) for n in flow.shape[:1:-1]])
    columns = torch.arange(flow.shape[-1], dtype=torch.float32, device=flow.device)
    rows = torch.arange(flow.shape[-2], dtype=torch.float32, device=flow.device)
    grid = 2 * torch.stack(torch.meshgrid(columns, rows, indexing="xy")) / steps - 1  # (2, h, w), x first
    deformation = grid + 2 * flow.float() / steps
    deformation = F.interpolate(deformation, image.shape[-2:], mode="bilinear", align_corners=False)
    return F.grid_sample(image.float(), deformation.permute(0, 2, 3, 1), align_corners=False)


class WarpingNet(nn.Module):
    """Flow prediction and warp."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.hourglass = Hourglass(channels)
        width = 2 * channels[2]
        self.flow_out = nn.Sequential(
            LayerNorm2d(width), nn.LeakyReLU(SLOPE), nn.Conv2d(width, 2, 7, padding=3)
        )

    def forward(self, image: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """-> flow (B, 2, 64, 64) in pixels of its grid, warped picture (B, 3, 256, 256)."""
        flow = self.flow_out(self.hourglass(image, z)).float()
        return flow, warp(image, flow)


class EditingEncoder(nn.Module):
    """Feature maps 64@256, 128@128, 256@64, 256@32 of the picture and the warped picture."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.first = ConvNorm(6, channels[0], 7, spectral=False)
        self.num_blocks = len(channels) - 1
        for i in range(self.num_blocks):
            self.add_module(f"down{i}", ConvNorm(channels[i], channels[i + 1], spectral=False, down=True))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        maps = [self.first(pictures)]
        for i in range(self.num_blocks):
            maps.append(self.get_submodule(f"down{i}")(maps[-1]))
        return maps


class ResBlock(nn.Module):
    """``x + norm2(conv2(x), z)``.

    ``conv1`` and ``norm1`` are in the checkpoint but not in the computation: the original overwrites their
        result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = AdaIN(channels, DESCRIPTOR)
        self.norm2 = AdaIN(channels, DESCRIPTOR)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(x), z)


class ResBlocks(nn.Module):
    """``res0``, ``res1``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res0 = ResBlock(channels)
        self.res1 = ResBlock(channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.res1(self.res0(x, z), z)


class EditingDecoder(nn.Module):
    """Decoder from 32 to 256 px: residual blocks, enlargement, the encoder's map added."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.num_blocks = len(channels) - 1
        for i in reversed(range(self.num_blocks)):
            self.add_module(f"up{i}", ConvNorm(channels[i + 1], channels[i], spectral=False, up=True))
            self.add_module(f"res{i}", ResBlocks(channels[i + 1]))
            self.add_module(f"jump{i}", ConvNorm(channels[i], channels[i], spectral=False))
        self.final = FinalConv(channels[0], torch.tanh, spectral=False)

    def forward(self, maps: list[Tensor], z: Tensor) -> Tensor:
        x = maps[-1]
        for i in reversed(range(self.num_blocks)):
            x = self.get_submodule(f"res{i}")(x, z)
            x = self.get_submodule(f"up{i}")(x) + self.get_submodule(f"jump{i}")(maps[i])
        return self.final(x)


class EditingNet(nn.Module):
    """Repair of the warped picture."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = EditingEncoder(channels)
        self.decoder = EditingDecoder(channels)

    def forward(self, image: Tensor, warped: Tensor, z: Tensor) -> Tensor:
        return self.decoder(self.encoder(torch.cat([image, warped.to(image.dtype)], dim=1)), z)


class DNet(nn.Module):
    """Expression editing, 22.5 M parameters.

    Args:
        warping: channels of the warping network, 256 px down to 8 px; official checkpoints have the defaults.
        editing: channels of the editing network, 256 px down to 32 px.
    """

    HALF: ClassVar = True
    #: Not the flow, which is off by 1.5e-4 as it is.
    WINOGRAD: ClassVar = ("editing_net",)
    #: Half precision would move the picture by tenths of a pixel.
    KEEP_FLOAT32: ClassVar = ("mapping_net", "warpping_net")

    def __init__(
        self,
        warping: Sequence[int] = (32, 64, 128, 256, 256, 256),
        editing: Sequence[int] = (64, 128, 256, 256),
    ) -> None:
        super().__init__()
        self.mapping_net = MappingNet()
        self.warpping_net = WarpingNet(warping)
        self.editing_net = EditingNet(editing)

    def forward(self, image: Tensor, coeff: Tensor) -> dict[str, Tensor]:
        """Give a face another expression.

        Args:
            image: (B, 3, 256, 256) float RGB -1..1.
            coeff: (B, 73, 26) float: expression 64, angles 3, translation 3, crop 3 over a window of 26
                frames.

        Returns:
            Float32 ``flow_field`` (B, 2, 64, 64) in pixels of the 64-px grid, ``warp_image`` and
            ``fake_image`` (B, 3, 256, 256) RGB -1..1.
        """
        z = self.mapping_net(coeff).flatten(1)
        flow, warped = self.warpping_net(image, z)
        return {"flow_field": flow, "warp_image": warped, "fake_image": self.editing_net(image, warped, z)}
