"""Losses, each a function of tensors; means over everything that is compared, float32 whatever comes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Features = Callable[[Tensor], Sequence[Tensor]]
#: Cosines are kept this far from 0 and 1, where the logarithm has no end.
MARGIN = 1e-6


def l1(drawn: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference of two tensors of one shape.

    Args:
        weight: of each value, broadcast against the difference; the mean is the weighted one.
    """
    difference = (drawn.float() - real.float()).abs()
    if weight is None:
        return difference.mean()
    weight = weight.expand_as(difference)
    return (difference * weight).sum() / weight.sum()


def gram(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, C): products of channels, summed over the picture, over C H W (Gatys et al., 2016)."""
    flat = maps.float().flatten(2)
    with torch.autocast(maps.device.type, enabled=False):  # bfloat16 would lose what the sums differ by
        return flat @ flat.transpose(1, 2) / flat[0].numel()


def perceptual_and_style(
    features: Features, drawn: Tensor, real: Tensor, scales: int = 1, *, style: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the perceptual and the style (gram) loss: L1 of the features and of their gram matrices.

    Both are summed over the maps and averaged over the scales.

    Args:
        features: pictures (B, 3, H, W) RGB 0..1 -> maps.
        drawn: (B, 3, H, W) RGB 0..1.
        real: the same; no gradient reaches it.
        scales: sizes at which pictures are compared: full, half, quarter, ...
        style: without it the style loss is 0 and not computed.
    """
    drawn, real = drawn.float(), real.float()
    perceptual = grams = drawn.new_zeros(())
    for scale in range(scales):
        if scale:
            drawn, real = F.avg_pool2d(drawn, 2), F.avg_pool2d(real, 2)
        with torch.no_grad():
            wanted = features(real)
        for one, other in zip(features(drawn), wanted, strict=True):
            perceptual = perceptual + l1(one, other)
            if style:
                grams = grams + l1(gram(one), gram(other))
    return perceptual / scales, grams / scales


def perceptual(features: Features, drawn: Tensor, real: Tensor, scales: int = 1) -> Tensor:
    """Return the perceptual loss alone, see `perceptual_and_style`."""
    return perceptual_and_style(features, drawn, real, scales, style=False)[0]


def hinge_critic(real: Tensor, drawn: Tensor) -> Tensor:
    """Loss of a critic: its scores of real patches should exceed 1, those of drawn ones fall below -1."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + drawn.float()).mean()


def hinge_generator(drawn: Tensor) -> Tensor:
    """Loss of what a critic judges: minus the mean score."""
    return -drawn.float().mean()


def identity(drawn: Tensor, real: Tensor) -> Tensor:
    """Mean of 1 - cosine of two embeddings (B, F)."""
    return (1 - F.cosine_similarity(drawn.float(), real.float(), dim=1)).mean()


def sync(agreement: Tensor, in_sync: Tensor) -> Tensor:
    """Binary cross-entropy of an expert's cosines.

    Args:
        agreement: (B,) 0..1, from `SyncExpert`.
        in_sync: (B,) 1 where picture and sound belong together, else 0.
    """
    # Not torch's own, which refuses to run under autocast.
    likely, wanted = agreement.float().clamp(MARGIN, 1 - MARGIN), in_sync.float()
    return -(wanted * likely.log() + (1 - wanted) * (1 - likely).log()).mean()


def sync_of_pairs(agreement: Tensor) -> Tensor:
    """Return `sync` of all pairs of a clip's windows; right and wrong pairs weigh the same.

    Args:
        agreement: (B, K, K) 0..1, picture i with sound k; they belong together where i = k. K is 2 or more.
    """
    right = torch.eye(agreement.shape[-1], dtype=torch.bool, device=agreement.device).expand_as(agreement)
    own, other = agreement[right], agreement[~right]
    return (sync(own, torch.ones_like(own)) + sync(other, torch.zeros_like(other))) / 2


def matching(agreement: Tensor, sharpness: float) -> Tensor:
    """Return the cross-entropy of choosing each picture's sound, and each sound's picture, among a clip's windows.

    After Chung et al. (2019), "Perfect match".

    Args:
        agreement: (B, K, K), picture i with sound k; they belong together where i = k.
        sharpness: by which it is multiplied before the softmax.
    """
    scores = agreement.float() * sharpness
    wanted = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape[:2])
    choices = F.cross_entropy(scores.transpose(1, 2), wanted) + F.cross_entropy(scores, wanted)
    return choices / 2


def flow_smoothness(flow: Tensor) -> Tensor:
    """Mean absolute difference of a flow (B, 2, h, w) to its right and lower neighbours, in the flow's pixels."""
    flow = flow.float()
    return (flow[..., 1:] - flow[..., :-1]).abs().mean() + (flow[..., 1:, :] - flow[..., :-1, :]).abs().mean()
