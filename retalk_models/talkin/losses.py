"""Losses of the two networks of talkin (docs/talkin.md#training)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def expression_loss(
    predicted: Tensor, wanted: Tensor, basis: Tensor, motion: float = 1.0, points: float = 1.0
) -> tuple[Tensor, dict[str, float]]:
    """Squared errors of parameters, of their motion, and of the landmarks that they give. Parameters count by how far they move landmarks.

    Args:
        predicted, wanted: float[B, N, E].
        basis: float[E, P], landmarks (eye distances) of each parameter.
        motion: weight of the motion.
        points: weight of the landmarks, whose errors are taken over their own spread.

    Returns:
        The loss, and its parts.
    """
    apart = predicted - wanted
    size = basis.norm(dim=1)
    weighted = apart**2 * (size / size.mean())
    values = weighted.mean()
    moved = (apart.diff(dim=1) ** 2 * (size / size.mean())).mean()
    spread = (basis**2).sum(0).mean()
    placed = ((apart @ basis) ** 2).mean() / spread
    loss = values + motion * moved + points * placed
    parts = {"values": values, "motion": moved, "points": placed}
    return loss, {name: float(part.detach()) for name, part in parts.items()}


def weighted_l1(painted: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of float[B, 3, S, S] under weights float[B, 1, S, S]."""
    return ((painted - real).abs() * weight).sum() / (3 * weight.sum()).clamp_min(1e-6)


def edges(painted: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the slopes at three scales: what a plain error blurs away."""
    total = painted.new_zeros(())
    for _ in range(3):
        for dim in (2, 3):
            apart = (painted.diff(dim=dim) - real.diff(dim=dim)).abs()
            total = total + (apart * weight.narrow(dim, 1, apart.shape[dim])).sum() / (
                3 * weight.sum()
            ).clamp_min(1e-6)
        painted, real, weight = (F.avg_pool2d(x, 2) for x in (painted, real, weight))
    return total
