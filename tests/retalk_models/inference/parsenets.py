"""A ParseNet with half the channels, made-up weights and a convolution of another class, for the tests of the numerics
check: the whole one in bfloat16 takes a processor without instructions for it half a minute.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from retalk_models import build, networks
from retalk_models.inference import numerics
from retalk_models.inference.optimize import OptimizationConfig

HALF = OptimizationConfig(dtype=torch.bfloat16)


def narrow() -> nn.Module:
    """ParseNet with half the channels, and three of its ten blocks."""
    with patch.multiple(networks.parsenet, CHANNELS=(32, 64, 128, 128, 128), NUM_RES_BLOCKS=3):
        return build("parsenet")


@functools.cache
def weights(seed: int) -> dict[str, Tensor]:
    """Made-up weights of ParseNet."""
    generator = torch.Generator().manual_seed(seed)
    state = narrow().state_dict()
    for key, value in state.items():
        if value.ndim > 1:
            value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
        elif key.endswith(("norm.weight", "running_var")):
            value.fill_(1)
    return state


def parsenet(conv: type[nn.Conv2d], seed: int = 0) -> nn.Module:
    """ParseNet with made-up weights, one of its convolutions of a class."""
    net = narrow()
    net.load_state_dict(weights(seed), assign=True)
    layer: Any = net.get_submodule("body.0.conv1.conv2d")
    layer.__class__ = conv
    return net


class Counted(nn.Conv2d):
    """Counts its calls."""

    calls: ClassVar[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(1)
        return super().forward(x)


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process has found: what follows knows the cache folder only."""
    monkeypatch.setattr(numerics, "_found", {})


def kept(tmp_path: Path) -> list[Path]:
    """Files of kept figures."""
    return sorted((tmp_path / "cache" / "retalk" / "numerics").glob("*.json"))
