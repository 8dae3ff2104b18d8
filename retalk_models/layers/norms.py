"""Normalisations of L-Net and D-Net: layer norm over a whole picture, adaptive instance norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over (C, H, W) of each sample with one weight and bias a channel, keys of shape (C, 1, 1), eps 1e-5."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1:]
        return F.layer_norm(x, size, self.weight.expand(size), self.bias.expand(size), 1e-5)


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
