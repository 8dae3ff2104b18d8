"""One training step of each network: a batch to losses. Pure torch; nothing is changed but buffers of norms.

Axes of a batch: B items, T consecutive frames (`sync_expert.FRAMES` where an expert listens), H and W pixels.

| kind | batch |
|---|---|
| sync | ``faces`` (B, 5, 3, 96, 96) RGB 0..1, ``mel`` (B, 1, 80, 16), ``in_sync`` (B,) 0 or 1; or |
| | K windows of each clip: ``faces`` (B, K, 5, 3, 96, 96), ``mel`` (B, K, 1, 80, 16) |
| dnet | ``source``, ``target`` (B, 3, 256, 256) RGB -1..1, ``coeff`` (B, 73, 26) of the target |
| lnet | ``target``, ``reference`` (B, T, 3, 96, 96) RGB 0..1, ``mel`` (B, T, 1, 80, 16) |
| enet | the same at 384 pixels |

Sizes are those of the official networks; narrow networks for tests take smaller pictures too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.networks.enet import LOW_SIZE, resize
from retalk_models.training import losses
from retalk_models.training.critics import PatchCritic, frozen_call
from retalk_models.training.initial import initial, initialise
from retalk_models.training.settings import DNetLosses, ENetLosses, LNetLosses, Losses, SyncLosses
from retalk_models.training.sync_expert import FRAMES, SyncExpert

Batch = Mapping[str, Tensor]
#: Networks that are trained against a critic.
WITH_CRITIC = ("lnet", "enet")


@dataclasses.dataclass
class Networks:
    """The networks of a training.

    Attributes:
        generator: the one that is trained for use.
        critic: trained against it.
        features: frozen; pictures (B, 3, H, W) RGB 0..1 -> maps.
        expert: frozen sync expert in eval mode.
        identity: frozen; faces (B, 3, H, W) RGB 0..1 -> embeddings.
        speaker: frozen L-Net that draws E-Net's input; None: the target, made small.
    """

    generator: nn.Module
    critic: nn.Module | None = None
    features: nn.Module | None = None
    expert: SyncExpert | None = None
    identity: nn.Module | None = None
    speaker: nn.Module | None = None

    def trained(self) -> nn.ModuleDict:
        """Networks with parameters to train: ``generator`` and, if there is one, ``critic``."""
        parts = {"generator": self.generator}
        if self.critic is not None:
            parts["critic"] = self.critic
        return nn.ModuleDict(parts)

    def frozen(self) -> list[nn.Module]:
        """The networks that are only asked."""
        return [m for m in (self.features, self.expert, self.identity, self.speaker) if m is not None]


@dataclasses.dataclass
class Step:
    """Result of `training_step`.

    Attributes:
        generator: loss of the generator, a number.
        critic: loss of the critic; None without.
        parts: each loss before its weight, detached.
        pictures: rows of pictures to look at, name -> (B, 3, H, W) RGB 0..1, detached.
    """

    generator: Tensor
    critic: Tensor | None
    parts: dict[str, Tensor]
    pictures: dict[str, Tensor]

    @property
    def total(self) -> Tensor:
        """Sum of both losses, which share no gradient: one backward pass serves both networks."""
        return self.generator if self.critic is None else self.generator + self.critic


def networks_for(kind: str, critic: Mapping[str, Any] | None = None, **options: Any) -> Networks:
    """Build what is trained, with first weights: the network and its critic.

    Args:
        kind: "sync", "dnet", "lnet" or "enet".
        critic: options of `PatchCritic`.
        options: of the network; E-Net comes without its L-Net.
    """
    if kind == "enet":
        options = {"low_res": False, **options}
    made = initial(kind, **options)
    judge = None
    if kind in WITH_CRITIC:
        judge = PatchCritic(**(critic or {}))
        initialise(judge)
    return Networks(made, judge)


def training_step(
    kind: str,
    networks: Networks,
    batch: Batch,
    config: Losses,
    step: int,
    *,
    sync_on: bool = True,
) -> Step:
    """Compute the losses of one batch.

    Losses of which the frozen network is missing are left out, and so is their name in `Step.parts`.

    Args:
        kind: "sync", "dnet", "lnet" or "enet".
        networks: in train mode, all on one device.
        batch: see the module's table; on the same device.
        config: weights of the losses.
        step: number of the step from 0, which decides D-Net's phase.
        sync_on: the lip-sync loss counts; without it is measured only.

    Raises:
        ValueError: no such kind.
    """
    if kind not in STEPS:
        raise ValueError(f"no training of {kind!r}: choose one of {', '.join(STEPS)}")
    return STEPS[kind](networks, batch, config, step, sync_on)


def _sync(networks: Networks, batch: Batch, config: SyncLosses, step: int, sync_on: bool) -> Step:
    if batch["faces"].ndim == 6:
        return _windows(networks, batch, config)
    agreement = networks.generator(batch["faces"], batch["mel"])
    loss = losses.sync(agreement, batch["in_sync"])
    right = ((agreement > 0.5) == (batch["in_sync"] > 0.5)).float().mean()
    parts = {"sync": loss.detach(), "accuracy": right.detach()}
    return Step(config.sync * loss, None, parts, {"middle": batch["faces"][:, FRAMES // 2]})


def _windows(networks: Networks, batch: Batch, config: SyncLosses) -> Step:
    """Losses of the expert on all pairs of the windows of each clip, which share face and voice."""
    count, expert = batch["faces"].shape[:2], cast(SyncExpert, networks.generator)
    seen = expert.faces(batch["faces"].flatten(0, 1)).unflatten(0, count)
    heard = expert.sound(batch["mel"].flatten(0, 1)).unflatten(0, count)
    agreement = (seen[:, :, None] * heard[:, None]).sum(-1)  # (B, K, K)
    # What all windows of a clip share, such as face and voice, does not tell which sound belongs to which picture.
    apart, other = (F.normalize(one - one.mean(1, keepdim=True), dim=2) for one in (seen, heard))
    parts = {
        "sync": losses.sync_of_pairs(agreement),
        "matching": losses.matching((apart[:, :, None] * other[:, None]).sum(-1), config.sharpness),
        # Of wrong sounds of the same clip only one has to agree better than the right one for an error.
        "matched": (agreement.argmax(2) == torch.arange(count[1], device=agreement.device)).float().mean(),
    }
    total = config.sync * parts["sync"] + config.matching * parts["matching"]
    return _finished(total, None, parts, {"middle": batch["faces"][:, 0, FRAMES // 2]})


def _dnet(networks: Networks, batch: Batch, config: DNetLosses, step: int, sync_on: bool) -> Step:
    assert networks.features is not None, "D-Net needs features to compare"
    target = batch["target"] / 2 + 0.5
    net: Any = networks.generator
    if step < config.warp_steps:
        flow, warped = net.warpping_net(batch["source"], net.mapping_net(batch["coeff"]).flatten(1))
        made = {"flow_field": flow, "warp_image": warped}
    else:
        made = net(batch["source"], batch["coeff"])
    warped = made["warp_image"] / 2 + 0.5
    parts = {
        "warp": losses.perceptual(networks.features, warped, target, config.scales),
        "flow": losses.flow_smoothness(made["flow_field"]),
    }
    total = config.warp * parts["warp"] + config.flow * parts["flow"]
    pictures = {"source": batch["source"] / 2 + 0.5, "warped": warped}
    if "fake_image" in made:
        drawn = made["fake_image"] / 2 + 0.5
        parts["final"], parts["style"] = losses.perceptual_and_style(
            networks.features, drawn, target, config.scales
        )
        total = total + config.final * (parts["final"] + config.style * parts["style"])
        pictures["drawn"] = drawn
    return _finished(total, None, parts, {**pictures, "target": target})


def masked(faces: Tensor) -> Tensor:
    """Faces (..., H, W) with their lower half 0, as L-Net sees them."""
    height = faces.shape[-2]
    return torch.cat([faces[..., : height // 2, :], torch.zeros_like(faces[..., height // 2 :, :])], dim=-2)


def _lnet(networks: Networks, batch: Batch, config: LNetLosses, step: int, sync_on: bool) -> Step:
    target, mel = batch["target"], batch["mel"]
    faces = torch.cat([masked(target), batch["reference"]], dim=2)
    drawn = networks.generator(mel.flatten(0, 1), faces.flatten(0, 1)).unflatten(0, target.shape[:2])
    return _talking(networks, batch, config, drawn, {}, sync_on)


def _enet(networks: Networks, batch: Batch, config: ENetLosses, step: int, sync_on: bool) -> Step:
    target, reference, mel = (batch[name].flatten(0, 1) for name in ("target", "reference", "mel"))
    faces = torch.cat([masked(target), reference], dim=1)
    with torch.no_grad():
        side = target.shape[-1] // 4
        small = resize(faces, side)
        low = resize(target, side) if networks.speaker is None else networks.speaker(mel, small)
    net: Any = networks.generator
    drawn = net.enhance(low.float(), faces).unflatten(0, batch["target"].shape[:2])
    shown = {"low": resize(low.float(), target.shape[-1]).unflatten(0, batch["target"].shape[:2])}
    return _talking(networks, batch, config, drawn, shown, sync_on)


def _talking(
    networks: Networks,
    batch: Batch,
    config: LNetLosses | ENetLosses,
    drawn: Tensor,
    shown: dict[str, Tensor],
    sync_on: bool,
) -> Step:
    """Losses that L-Net and E-Net share; ``drawn`` is (B, T, 3, H, W)."""
    target = batch["target"]
    one, other = drawn.flatten(0, 1), target.flatten(0, 1)
    parts = {"l1": losses.l1(one, other)}
    total = config.l1 * parts["l1"]
    if networks.features is not None and config.perceptual:
        parts["perceptual"] = losses.perceptual(networks.features, one, other, config.scales)
        total = total + config.perceptual * parts["perceptual"]
    if networks.expert is not None and drawn.shape[1] == FRAMES:
        parts["sync"] = sync_of(networks.expert, drawn, batch["mel"])
        if sync_on and config.sync:
            total = total + config.sync * parts["sync"]
    if networks.identity is not None and isinstance(config, ENetLosses) and config.identity:
        with torch.no_grad():
            who = networks.identity(other)
        parts["identity"] = losses.identity(networks.identity(one), who)
        total = total + config.identity * parts["identity"]
    critic = None
    if networks.critic is not None and config.critic:
        parts["adversarial"] = losses.hinge_generator(frozen_call(networks.critic, one))
        total = total + config.critic * parts["adversarial"]
        critic = losses.hinge_critic(networks.critic(other), networks.critic(one.detach()))
        parts["critic"] = critic
    rows = {"reference": batch["reference"], **shown, "drawn": drawn, "target": target}
    return _finished(total, critic, parts, {name: row[:, 0] for name, row in rows.items()})


def sync_of(expert: SyncExpert, drawn: Tensor, mel: Tensor) -> Tensor:
    """Return the lip-sync loss of drawn faces (B, 5, 3, H, W) and mel windows (B, 5, 1, 80, 16)."""
    if drawn.shape[-1] != LOW_SIZE:
        size = (LOW_SIZE, LOW_SIZE)
        small = F.interpolate(drawn.flatten(0, 1).float(), size, mode="bilinear", antialias=True)
        drawn = small.unflatten(0, drawn.shape[:2])
    agreement = cast(Tensor, expert(drawn, mel[:, 0]))
    return losses.sync(agreement, torch.ones_like(agreement))


def _finished(
    total: Tensor, critic: Tensor | None, parts: dict[str, Tensor], pictures: dict[str, Tensor]
) -> Step:
    return Step(
        total,
        critic,
        {name: value.detach() for name, value in parts.items()},
        {name: value.detach().float() for name, value in pictures.items()},
    )


STEPS: dict[str, Callable[[Networks, Batch, Any, int, bool], Step]] = {
    "sync": _sync,
    "dnet": _dnet,
    "lnet": _lnet,
    "enet": _enet,
}
