"""Normalisations of L-Net and D-Net: layer norm over a whole picture, adaptive instance norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalised(x: Tensor, axes: tuple[int, ...], scale: Tensor, shift: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean and variance over axes removed, then scaled and shifted, in few passes over the picture, whatever its
    layout; for GPUs, whose kernels of norms know one layout, cast half precision up or give each sample one block.

    Args:
        x: (B, C, H, W).
        axes: of each mean.
        scale, shift: (B or 1, C, 1, 1).
        eps: is added to the variance.
    """
    if x.dtype == torch.float32:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    else:
        # Sums in float32 without a copy of the picture in it.
        count = math.prod(x.shape[axis] for axis in axes)
        mean = x.mean(axes, keepdim=True, dtype=torch.float32)
        squares = torch.linalg.vector_norm(x, 2, axes, keepdim=True, dtype=torch.float32).square() / count
        variance = (squares - mean.square()).clamp(min=0)
    scale = scale.float() * torch.rsqrt(variance + eps)
    # The mean goes first: of a flat picture its product with the scale would leave the range of half precision.
    return torch.addcmul(shift.to(x.dtype), x - mean.to(x.dtype), scale.to(x.dtype))


class LayerNorm2d(nn.Module):
    """Layer norm over (C, H, W) of each sample with one weight and bias a channel, keys of shape (C, 1, 1),
    eps 1e-5.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1:]
        return F.layer_norm(x, size, self.weight.expand(size), self.bias.expand(size), 1e-5)

    def fold(self) -> nn.Module:
        """Group norm with a single group: the same, without weights spread over the picture."""
        norm = WholeNorm(1, len(self.weight), eps=1e-5)
        norm.weight = nn.Parameter(self.weight.detach().flatten(), requires_grad=False)
        norm.bias = nn.Parameter(self.bias.detach().flatten(), requires_grad=False)
        return norm


class WholeNorm(nn.GroupNorm):
    """`LayerNorm2d` as a group norm with a single group."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return super().forward(x)
        return normalised(x, (1, 2, 3), self.weight[:, None, None], self.bias[:, None, None], self.eps)


class AdaIN(nn.Module):
    """Adaptive instance norm: the picture's own statistics removed, scale and shift predicted from a feature.

    Args:
        channels: C of the picture.
        features: F of the conditioning feature.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Linear(features, 128), nn.ReLU())
        self.mlp_gamma = nn.Linear(128, channels)
        self.mlp_beta = nn.Linear(128, channels)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """``x`` (B, C, H, W), ``feature`` (B, F) -> (B, C, H, W)."""
        hidden = self.mlp_shared(feature)
        gamma = self.mlp_gamma(hidden)[:, :, None, None]
        beta = self.mlp_beta(hidden)[:, :, None, None]
        return F.instance_norm(x, eps=1e-5) * (1 + gamma) + beta

    def fold(self) -> nn.Module:
        """`FoldedAdaIN` of this one alone."""
        return FoldedAdaIN([self])


class FoldedAdaIN(nn.Module):
    """Several `AdaIN` s of the same feature on pictures that lie behind one another on the channel axis: two
    linear layers for all.
    """

    def __init__(self, norms: Sequence[AdaIN]) -> None:
        super().__init__()
        shared = [next(norm.mlp_shared.children()) for norm in norms]
        self.shared = linear(
            *(torch.cat([layer.get_parameter(key) for layer in shared]) for key in ("weight", "bias"))
        )
        gamma = torch.block_diag(*(norm.mlp_gamma.weight for norm in norms))
        beta = torch.block_diag(*(norm.mlp_beta.weight for norm in norms))
        biases = [
            1 + torch.cat([norm.mlp_gamma.bias for norm in norms]),
            torch.cat([norm.mlp_beta.bias for norm in norms]),
        ]
        self.affine = linear(torch.cat([gamma, beta]), torch.cat(biases))

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """``x`` (B, C, H, W), ``feature`` (B, F) -> (B, C, H, W)."""
        scale, shift = self.affine(F.relu(self.shared(feature)))[:, :, None, None].to(x.dtype).chunk(2, dim=1)
        if x.is_cuda:
            return normalised(x, (2, 3), scale, shift)
        return torch.addcmul(shift, F.instance_norm(x, eps=1e-5), scale)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer of given weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
