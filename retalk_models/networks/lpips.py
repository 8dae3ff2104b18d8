"""LPIPS: two pictures -> how different they look (Zhang et al. 2018).

Described in docs/networks.md#lpips. Attribute names are the keys of AlexNet's trunk in ``alexnet-owt-7be5be79.pth``
(``features.*``) and of the linear heads in LPIPS 0.1's ``alex.pth`` (``lin0.model.1.weight`` to ``lin4``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Mean and spread of LPIPS' own scaling of pictures in -1..1.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
#: Channels of the trunk's five stages, and the layers behind which they are taken.
CHANNELS, TAPS = (64, 192, 384, 256, 256), (1, 4, 7, 9, 11)


class Head(nn.Module):
    """A weight for each channel; ``model.0`` of the original is dropout, which does nothing here."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, 1, H, W)."""
        return self.model(x)


class LPIPS(nn.Module):
    """LPIPS with AlexNet's trunk, 2.5 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        )
        self.lin0, self.lin1, self.lin2, self.lin3, self.lin4 = (Head(channels) for channels in CHANNELS)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two (B, 3, H, W) RGB 0..1, at least 64 pixels a side -> (B,) distances, 0 for equal pictures."""
        heads = (self.lin0, self.lin1, self.lin2, self.lin3, self.lin4)
        total = first.new_zeros(len(first))
        for head, one, other in zip(heads, self.stages(first), self.stages(second), strict=True):
            total = total + head((one - other) ** 2).mean((1, 2, 3))
        return total.float()

    def stages(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB 0..1 -> five maps (B, C, H', W'), each pixel's channels of unit length."""
        shift, scale = (pictures.new_tensor(values)[:, None, None] for values in (SHIFT, SCALE))
        x, found = (pictures * 2 - 1 - shift) / scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS:
                found.append(x / (torch.sqrt((x**2).sum(1, keepdim=True)) + 1e-10))
        return found
