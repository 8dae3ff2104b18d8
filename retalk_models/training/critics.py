"""Critics of pictures: patches of real and of drawn faces told apart (Isola et al., 2017; Miyato et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.conv import SpectralConv2d


class PatchCritic(nn.Module):
    """Strided convolutions with spectral norm; each number of the result judges one patch.

    Args:
        channels: of the strided convolutions, each of which halves the size.
    """

    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        cin = 3
        for cout in channels:
            self.layers.append(SpectralConv2d(cin, cout, 4, 1, stride=2))
            cin = cout
        self.last = SpectralConv2d(cin, 1, 3, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0..1 -> (B, 1, h, w), above 0 where a patch looks real."""
        x = pictures * 2 - 1
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.last(x).float()


def frozen_call(critic: nn.Module, pictures: Tensor) -> Tensor:
    """Call a module so that gradients reach the pictures but not its parameters.

    A generator's and a critic's losses can then be summed and sent back in one pass, which is what data-parallel training
    of both in one module needs.
    """
    parameters = {name: value.detach() for name, value in critic.named_parameters()}
    called: Tensor = torch.func.functional_call(critic, parameters, (pictures,))
    return called
