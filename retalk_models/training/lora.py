"""LoRA: a trained network adapted by low-rank additions to its weights (Hu et al., 2022), merged before release."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

#: Parameters that may be adapted, in the order in which they are looked for.
NAMES = ("weight_orig", "weight")


class LowRank(nn.Module):
    """Adds a product of two thin matrices to a weight (out, ...), nothing at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.empty(rank, columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


def add_lora(network: nn.Module, rank: int) -> int:
    """Freeze a network and give its convolutions and linear layers low-rank additions to train, in place.

    Weights with fewer rows or columns than twice the rank stay as they are.

    Returns:
        Number of weights that are adapted.
    """
    network.requires_grad_(False)
    count = 0
    for layer in list(network.modules()):
        for name in NAMES:
            weight = layer._parameters.get(name)
            if (
                weight is not None
                and weight.ndim in (2, 4)
                and min(len(weight), weight[0].numel()) >= 2 * rank
            ):
                # unsafe: spectral norms write to buffers between uses, which the check of shapes would trip over.
                parametrize.register_parametrization(layer, name, LowRank(weight, rank), unsafe=True)
                count += 1
                break
    return count


def merge_lora(network: nn.Module) -> nn.Module:
    """Write the additions into the weights, in place; keys are the network's own again."""
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer):
            for name in list(layer.parametrizations):  # type: ignore[arg-type, union-attr]
                parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    return network
