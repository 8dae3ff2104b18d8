"""Networks with weights to begin training from."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from retalk_models.build import network_class
from retalk_models.layers.conv import SpectralConv2d
from retalk_models.layers.norms import LayerNorm2d
from retalk_models.layers.stylegan2 import ModulatedConv2d, StyleConv, ToRGB
from retalk_models.training.sync_expert import SyncExpert

#: Power iterations of a new spectral norm, as many as torch's own runs.
ITERATIONS = 15


def initial(name: str, **options: Any) -> nn.Module:
    """Build a network for training: float32 on the CPU, random weights, in train mode.

    Convolutions and linear layers have torch's own distribution (He, uniform), norms are the identity, styles begin
    at 1, noise strengths at 0. Parameters that take no part in the computation need no gradient.

    Args:
        name: "sync", or a network of `retalk_models.build.NETWORKS`.
        options: of the network, for instance ``channels`` of a narrow one.

    Raises:
        ValueError: no such network.
    """
    network = SyncExpert(**options) if name == "sync" else network_class(name)(**options)
    initialise(network)
    freeze_unused(name, network)
    return network.train()


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Give the layers that torch does not know their first weights, in place."""
    for layer in network.modules():
        if isinstance(layer, SpectralConv2d):
            nn.init.kaiming_uniform_(layer.weight_orig, a=5**0.5)
            bound = layer.weight_orig[0].numel() ** -0.5
            nn.init.uniform_(layer.bias, -bound, bound)
            for vector in (layer.weight_u, layer.weight_v):
                vector.copy_(nn.functional.normalize(torch.randn_like(vector), dim=0))
            layer.iterate(ITERATIONS)
        elif isinstance(layer, LayerNorm2d):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
        elif isinstance(layer, ModulatedConv2d):
            layer.weight.normal_(0.0, layer.weight[0, 0].numel() ** -0.5)
            layer.modulation.bias.fill_(1.0)
        elif isinstance(layer, (StyleConv, ToRGB)):
            layer.bias.zero_()
            if isinstance(layer, StyleConv):
                layer.weight.zero_()


def freeze_unused(name: str, network: nn.Module) -> None:
    """Stop gradients for parameters that no result depends on.

    D-Net's residual blocks carry a first convolution that the original overwrites, and E-Net's noise strengths see no
    noise here, so that the same inputs give the same face.
    """
    for key, parameter in network.named_parameters():
        dead = name == "dnet" and ".res" in key and (".conv1." in key or ".norm1." in key)
        noise = name == "enet" and key.startswith("style_convs.") and key.count(".") == 2
        if dead or (noise and key.endswith(".weight")):
            parameter.requires_grad_(False)
