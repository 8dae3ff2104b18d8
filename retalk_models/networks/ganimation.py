"""GANimation generator: action units -> a face with that upper-face expression (Pumarola et al., 2018).

Described in docs/networks.md#ganimation. Attribute names are the official checkpoint's keys
(``30_net_gen.pth``, 36 entries).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_AUS = 17
NUM_RES_BLOCKS = 6


def norm(channels: int) -> nn.Module:
    """Instance norm without parameters, then ReLU follows."""
    return nn.InstanceNorm2d(channels)


class ResBlock(nn.Module):
    """``x`` + convolution ``0``, instance norm, ReLU, convolution ``3``, instance norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class GANimation(nn.Module):
    """Generator of colours and of the mask that says where to keep the input, 8.5 M parameters."""

    HALF: ClassVar = True
    CONTIGUOUS: ClassVar = True

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3 + NUM_AUS, 64, 7, padding=3), norm(64), nn.ReLU()]
        for cin in (64, 128):
            layers += [nn.Conv2d(cin, 2 * cin, 4, stride=2, padding=1), norm(2 * cin), nn.ReLU()]
        layers += [ResBlock(256) for _ in range(NUM_RES_BLOCKS)]
        for cin in (256, 128):
            layers += [nn.ConvTranspose2d(cin, cin // 2, 4, stride=2, padding=1), norm(cin // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers)
        self.color_top = nn.Sequential(nn.Conv2d(64, 3, 7, padding=3, bias=False))
        self.au_top = nn.Sequential(nn.Conv2d(64, 1, 7, padding=3, bias=False))

    def forward(self, image: Tensor, aus: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colours and mask of the new face; the result is ``mask * image + (1 - mask) * colour``.

        Args:
            image: (B, 3, 128, 128) float RGB -1..1; any size that is a multiple of 4.
            aus: (B, 17) float action units.

        Returns:
            Colour (B, 3, 128, 128) -1..1, mask (B, 1, 128, 128) 0..1, embedding (B, 64, 128, 128).
        """
        maps = aus[:, :, None, None].expand(-1, -1, *image.shape[-2:])
        embedding = self.model(torch.cat([image, maps.to(image.dtype)], dim=1))
        return (
            torch.tanh(self.color_top(embedding).float()),
            F.sigmoid(self.au_top(embedding).float()),
            embedding,
        )
