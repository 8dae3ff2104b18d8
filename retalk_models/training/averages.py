"""Averages of weights over the steps, and learning rates by step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a network's state, on its device.

    Early on it forgets faster, so that it does not hold on to the first weights: the decay of step n is at most
    (1 + n) / (10 + n).

    Args:
        network: whose state is averaged; buffers (running statistics, spectral vectors) are copied.
        decay: share of the old average that stays, 0 to 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state: dict[str, Tensor] = {
            key: value.detach().clone() for key, value in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the network's present weights in."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        parameters = {name for name, _ in network.named_parameters()}
        for key, value in network.state_dict().items():
            if key in parameters:
                self.state[key].lerp_(value.detach(), 1 - decay)
            else:
                self.state[key].copy_(value)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Learning rate by step.

    Attributes:
        rate: the highest.
        warmup: steps in which it grows from 0.
        kind: "constant", "cosine" (to 0 at the last step), or "steps".
        drops: with "steps", the steps at which it is multiplied by ``factor``.
        factor: see ``drops``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # for configurations

    rate: float = 1e-4
    warmup: int = 0
    kind: Literal["constant", "cosine", "steps"] = "constant"
    drops: tuple[int, ...] = ()
    factor: float = 0.2

    def at(self, step: int, last: int) -> float:
        """Return the rate of a step of ``last`` in all, from 0."""
        rate = self.rate * min(1.0, (step + 1) / self.warmup) if self.warmup else self.rate
        if self.kind == "cosine":
            return rate * (1 + math.cos(math.pi * min(1.0, step / max(1, last)))) / 2
        if self.kind == "steps":
            return rate * float(self.factor ** sum(step >= drop for drop in self.drops))
        return rate
