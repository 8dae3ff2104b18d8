"""ArcFace: a grey face -> 512 numbers that tell who it is (Deng et al., 2019), for the identity loss.

Attribute names are the keys of GFPGAN's ``arcface_resnet18.pth`` (a ResNet-18 of pre-activation blocks without
squeeze-and-excitation), "module." removed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

#: Side of the face that it reads.
SIZE = 128
#: Weights of R, G and B in the grey picture.
LUMA = (0.2989, 0.5870, 0.1140)


def _convolution(cin: int, cout: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride, 1, bias=False)


class Block(nn.Module):
    """Residual block: norm, convolution, norm, PReLU, convolution, norm; added, and the same PReLU again."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(cin)
        self.conv1 = _convolution(cin, cin)
        self.bn1 = nn.BatchNorm2d(cin)
        self.prelu = nn.PReLU()
        self.conv2 = _convolution(cin, cout, stride)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample: nn.Module | None = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        y = self.bn2(self.conv2(y))
        return self.prelu(y + (x if self.downsample is None else self.downsample(x)))


class ArcFace(nn.Module):
    """ResNet-18 with an embedding of 512 numbers, frozen, in eval mode; 24 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(1, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.bn4 = nn.BatchNorm2d(512)
        self.fc5 = nn.Linear(512 * 8 * 8, 512)
        self.bn5 = nn.BatchNorm1d(512)
        self.requires_grad_(False).eval()

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0..1 of any size -> (B, 512) of unit length."""
        red, green, blue = faces.unbind(1)
        grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]
        grey = F.interpolate(grey, (SIZE, SIZE), mode="bilinear", align_corners=False) * 2 - 1
        x = F.max_pool2d(self.prelu(self.bn1(self.conv1(grey))), 2)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.normalize(self.bn5(self.fc5(self.bn4(x).flatten(1))).float(), dim=1)

    def train(self, mode: bool = True) -> ArcFace:
        """Stay in eval mode, whatever is asked."""
        return super().train(False)


def arcface(state: Mapping[str, Tensor]) -> ArcFace:
    """Build `ArcFace` with GFPGAN's weights.

    Args:
        state: the content of ``arcface_resnet18.pth``.

    Raises:
        RuntimeError: weights are missing, unknown or of another shape.
    """
    network = ArcFace()
    network.load_state_dict({key.removeprefix("module."): value for key, value in state.items()}, strict=True)
    return network
