"""Weights of the losses of each network, with where each value is from; `configs/training` repeats them."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

#: For the validation of configurations: unknown keys are mistakes.
STRICT: dict[str, Any] = {"extra": "forbid"}


@dataclasses.dataclass(frozen=True)
class SyncLosses:
    """Losses of the sync expert.

    Attributes:
        sync: binary cross-entropy of the cosine.
        matching: each window's sound among those of the other windows of its clip, and the reverse, by features less their
            mean over the clip; needs items of several windows.
        sharpness: by which cosines are multiplied before the softmax of `matching`.
    """

    __pydantic_config__: ClassVar = STRICT

    sync: float = 1.0
    matching: float = 1.0
    sharpness: float = 6.0


@dataclasses.dataclass(frozen=True)
class DNetLosses:
    """Losses of D-Net.

    Attributes:
        warp: perceptual loss of the warped picture.
        final: perceptual loss of the result.
        style: gram loss relative to the perceptual loss of the result.
        flow: smoothness of the flow.
        scales: sizes at which features are compared.
        warp_steps: steps in which the warping network is trained alone.
    """

    __pydantic_config__: ClassVar = STRICT

    warp: float = 2.5
    final: float = 4.0
    style: float = 250.0
    flow: float = 0.01
    scales: int = 4
    warp_steps: int = 200_000


@dataclasses.dataclass(frozen=True)
class LNetLosses:
    """Losses of L-Net.

    Attributes:
        l1: mean absolute difference.
        perceptual: features of VGG19.
        sync: of the sync expert, from the moment on at which it is switched on.
        critic: adversarial, hinge.
        scales: sizes at which features are compared.
        sync_below: sync loss on held-out clips below which `sync` is switched on.
    """

    __pydantic_config__: ClassVar = STRICT

    l1: float = 1.0
    perceptual: float = 0.1
    sync: float = 0.03
    critic: float = 0.07
    scales: int = 1
    sync_below: float = 0.75


@dataclasses.dataclass(frozen=True)
class ENetLosses:
    """Losses of E-Net.

    Attributes:
        l1: mean absolute difference.
        perceptual: features of VGG19.
        sync: of the sync expert.
        critic: adversarial, hinge.
        identity: ArcFace's cosine to the target.
        scales: sizes at which features are compared.
        sync_below: sync loss on held-out clips below which `sync` is switched on; E-Net's input speaks already.
    """

    __pydantic_config__: ClassVar = STRICT

    l1: float = 1.0
    perceptual: float = 0.1
    sync: float = 0.03
    critic: float = 0.05
    identity: float = 0.1
    scales: int = 3
    sync_below: float = float("inf")


LOSSES = {"sync": SyncLosses, "dnet": DNetLosses, "lnet": LNetLosses, "enet": ENetLosses}
Losses = SyncLosses | DNetLosses | LNetLosses | ENetLosses
