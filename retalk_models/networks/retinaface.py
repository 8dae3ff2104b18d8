"""RetinaFace with a ResNet-50 trunk: raw detections of faces and five landmarks (Deng et al., 2020).

Described in docs/networks.md#retinaface. Attribute names, the lone lower-case ``conv7x7_3`` included, are the
official checkpoint's keys (``RetinaFace-R50.pth``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.resnet import ResNet50

CHANNELS = 256
NUM_ANCHORS = 2


def conv_bn(cin: int, cout: int, kernel: int = 3, *, relu: bool = True) -> nn.Sequential:
    """Convolution ``0`` without bias, BatchNorm ``1``, ReLU."""
    layers = [nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class FPN(nn.Module):
    """Feature pyramid over strides 8, 16, 32: coarser maps are enlarged (nearest) and added to finer ones."""

    def __init__(self) -> None:
        super().__init__()
        self.output1 = conv_bn(512, CHANNELS, 1)
        self.output2 = conv_bn(1024, CHANNELS, 1)
        self.output3 = conv_bn(2048, CHANNELS, 1)
        self.merge1 = conv_bn(CHANNELS, CHANNELS)
        self.merge2 = conv_bn(CHANNELS, CHANNELS)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        out1, out2, out3 = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        out2 = self.merge2(out2 + F.interpolate(out3, out2.shape[-2:], mode="nearest"))
        out1 = self.merge1(out1 + F.interpolate(out2, out1.shape[-2:], mode="nearest"))
        return [out1, out2, out3]


class SSH(nn.Module):
    """Context of three receptive fields side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3X3 = conv_bn(CHANNELS, CHANNELS // 2, relu=False)
        self.conv5X5_1 = conv_bn(CHANNELS, CHANNELS // 4)
        self.conv5X5_2 = conv_bn(CHANNELS // 4, CHANNELS // 4, relu=False)
        self.conv7X7_2 = conv_bn(CHANNELS // 4, CHANNELS // 4)
        self.conv7x7_3 = conv_bn(CHANNELS // 4, CHANNELS // 4, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.conv5X5_1(x)
        return F.relu(
            torch.cat(
                [self.conv3X3(x), self.conv5X5_2(middle), self.conv7x7_3(self.conv7X7_2(middle))], dim=1
            )
        )


class Head(nn.Module):
    """``size`` numbers an anchor: (B, 256, H, W) -> (B, H * W * anchors, size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.conv1x1 = nn.Conv2d(CHANNELS, NUM_ANCHORS * size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1x1(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.size)).float()


class RetinaFace(nn.Module):
    """Face detector, 27.3 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ResNet50()
        self.fpn = FPN()
        self.ssh1, self.ssh2, self.ssh3 = SSH(), SSH(), SSH()
        self.ClassHead = nn.ModuleList(Head(2) for _ in range(3))
        self.BboxHead = nn.ModuleList(Head(4) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(Head(10) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raw detections, A = 2 anchors a cell of the maps of size ceil(H/8), ceil(H/16), ceil(H/32),
        row-major, finest first.

        Args:
            x: (B, 3, H, W) float BGR 0..255 minus (104, 117, 123), any size.

        Returns:
            Box offsets (B, A, 4), class probabilities (B, A, 2) with the face second, landmark offsets (B, A,
            10). Float32, to be decoded with variances 0.1, 0.2.
        """
        pyramid = self.fpn(self.body(x)[1:])
        features = [ssh(level) for ssh, level in zip((self.ssh1, self.ssh2, self.ssh3), pyramid)]

        def levels(heads: nn.ModuleList) -> Tensor:
            return torch.cat([head(feature) for head, feature in zip(heads, features)], dim=1)

        return levels(self.BboxHead), levels(self.ClassHead).softmax(dim=-1), levels(self.LandmarkHead)
