"""FAN-4: heat maps of 68 landmarks from four stacked hourglasses (Bulat and Tzimiropoulos, 2017).

Described in docs/networks.md#fan. Attribute names are the keys of face-alignment's
``2DFAN4-11f355bf06.pth.tar`` (1129 entries).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_STACKS = 4
NUM_LANDMARKS = 68
DEPTH = 4
CHANNELS = 256


class ConvBlock(nn.Module):
    """Three pre-activated 3x3 convolutions of 1/2, 1/4, 1/4 of the output channels, each feeding the next;
    their outputs side by side.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        half, quarter = cout // 2, cout // 4
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.downsample: nn.Module | None = None
        if cin != cout:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(cin), nn.ReLU(), nn.Conv2d(cin, cout, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv1(F.relu(self.bn1(x)))
        b = self.conv2(F.relu(self.bn2(a)))
        c = self.conv3(F.relu(self.bn3(b)))
        return torch.cat([a, b, c], dim=1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Down and up again over `DEPTH` halvings, with a branch kept at each size."""

    def __init__(self) -> None:
        super().__init__()
        for level in range(DEPTH, 0, -1):
            self.add_module(f"b1_{level}", ConvBlock(CHANNELS, CHANNELS))
            self.add_module(f"b2_{level}", ConvBlock(CHANNELS, CHANNELS))
        self.b2_plus_1 = ConvBlock(CHANNELS, CHANNELS)
        for level in range(1, DEPTH + 1):
            self.add_module(f"b3_{level}", ConvBlock(CHANNELS, CHANNELS))

    def forward(self, x: Tensor, level: int = DEPTH) -> Tensor:
        kept = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self(low, level - 1) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return kept + F.interpolate(low, scale_factor=2.0, mode="nearest")


class FAN(nn.Module):
    """Landmark network, 23.8 M parameters."""

    CONV_NORM: ClassVar = (("conv1", "bn1"), *((f"conv_last{i}", f"bn_end{i}") for i in range(NUM_STACKS)))

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = ConvBlock(64, 128)
        self.conv3 = ConvBlock(128, 128)
        self.conv4 = ConvBlock(128, CHANNELS)
        for i in range(NUM_STACKS):
            self.add_module(f"m{i}", Hourglass())
            self.add_module(f"top_m_{i}", ConvBlock(CHANNELS, CHANNELS))
            self.add_module(f"conv_last{i}", nn.Conv2d(CHANNELS, CHANNELS, 1))
            self.add_module(f"bn_end{i}", nn.BatchNorm2d(CHANNELS))
            self.add_module(f"l{i}", nn.Conv2d(CHANNELS, NUM_LANDMARKS, 1))
            if i < NUM_STACKS - 1:
                self.add_module(f"bl{i}", nn.Conv2d(CHANNELS, CHANNELS, 1))
                self.add_module(f"al{i}", nn.Conv2d(NUM_LANDMARKS, CHANNELS, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, 256, 256) float RGB 0..1 -> heat maps (B, 68, 64, 64) float32 of each of the four stacks;
        the last is the answer.
        """
        x = F.relu(self.bn1(self.conv1(image)))
        x = self.conv4(self.conv3(F.avg_pool2d(self.conv2(x), 2)))
        heatmaps = []
        for i in range(NUM_STACKS):
            y = self.get_submodule(f"top_m_{i}")(self.get_submodule(f"m{i}")(x))
            y = F.relu(self.get_submodule(f"bn_end{i}")(self.get_submodule(f"conv_last{i}")(y)))
            heat = self.get_submodule(f"l{i}")(y)
            heatmaps.append(heat.float())
            if i < NUM_STACKS - 1:
                x = x + self.get_submodule(f"bl{i}")(y) + self.get_submodule(f"al{i}")(heat)
        return heatmaps
