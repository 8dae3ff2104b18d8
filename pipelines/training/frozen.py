"""Networks that a training only asks, and weights to begin from."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from operators.storage.files import local_copy
from pipelines.errors import UsageError
from pipelines.training.checkpoints import read
from pipelines.training.config import TrainingConfig
from retalk_models.build import build
from retalk_models.inference.numerics import made_up
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import require
from retalk_models.training.arcface import arcface
from retalk_models.training.features import random_features, vgg19
from retalk_models.training.lora import add_lora
from retalk_models.training.steps import Networks, networks_for
from retalk_models.training.sync_expert import SyncExpert
from retalk_models.weights.load import load, load_into
from retalk_models.weights.safetensors_format import read_safetensors

#: Model files of the losses.
FEATURES, IDENTITY = "vgg19-dcbb9e9d.pth", "arcface_resnet18.pth"


@dataclasses.dataclass(frozen=True)
class Sources:
    """Files that a training reads beside its data.

    Attributes:
        features: VGG19 of torchvision: a file; "": the registry's; or "random".
        expert: checkpoint or export of `retalk train sync`; "": no lip-sync loss.
        identity: ArcFace of GFPGAN: a file, or "official": the registry's; "": no identity loss.
        speaker: of E-Net: L-Net whose output it reads: "official", an export of `retalk train lnet`; "": the target, made small.
        begin: weights to begin from: "official", "recipe" (made up, the same every time), an export or a checkpoint; "": random ones,
            by the training's seed.
        freeze: patterns (``encoder.*``) of parameters that stay as they are.
        lora: rank of the additions that are trained in place of the weights; 0: the weights themselves.
    """

    features: str = ""
    expert: str = ""
    identity: str = ""
    speaker: str = ""
    begin: str = ""
    freeze: tuple[str, ...] = ()
    lora: int = 0


def assemble(config: TrainingConfig, sources: Sources) -> Networks:
    """Build the networks of a training, on the CPU.

    Raises:
        UsageError: a file is missing or holds something else; names it and what to do.
    """
    try:
        networks = networks_for(config.kind, config.critic, **config.network)
    except TypeError as error:
        raise UsageError(f"network, critic: {error}") from error
    if config.critic is None:
        networks.critic = None
    if sources.begin:
        _begin(networks.generator, config, sources.begin)
    if sources.lora and not add_lora(networks.generator, sources.lora):
        raise UsageError(f"--lora {sources.lora}: no weight is large enough; take a smaller rank")
    _freeze(networks.generator, sources.freeze)
    if config.kind != "sync":
        networks.features = _features(sources.features)
    if config.kind in ("lnet", "enet") and sources.expert:
        expert = _trained(sources.expert, "expert")
        made = SyncExpert(**expert.get("network", {}))
        _fill(made, expert["weights"], sources.expert)
        networks.expert = made.requires_grad_(False).eval()
    if config.kind == "enet":
        if sources.identity:
            networks.identity = _of_state(arcface, listed(sources.identity, IDENTITY, "--identity"))
        if sources.speaker:
            networks.speaker = _speaker(sources.speaker)
    return networks


def _begin(network: nn.Module, config: TrainingConfig, begin: str) -> None:
    """Fill a network with the weights to begin from."""
    if begin in ("official", "recipe") and config.kind == "sync":
        raise UsageError(f"--from {begin}: there are no official weights of the sync expert; give a file")
    if begin == "recipe":
        network.load_state_dict(made_up(build(config.kind, **config.network)).state_dict())
        return
    if begin == "official":
        try:
            load_into(network, config.kind)
        except WeightsError as error:
            raise UsageError(str(error)) from error
        network.train()
        return
    _fill(network, _trained(begin, "begin")["weights"], begin)


def _fill(network: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise UsageError(
            f"{name}: not the weights of this network ({str(error).splitlines()[-1].strip()})"
        ) from error


def _trained(url: str, what: str) -> dict[str, Any]:
    """Weights of a checkpoint, or of an export in this project's nesting: ``weights``, and ``network`` where it is known."""
    try:
        with local_copy(url) as path:
            if url.endswith(".safetensors"):
                weights, about = read_safetensors(path)
                return {"weights": weights, "network": json.loads(about.get("options", "{}"))}
            content = read(str(path))
    except FileNotFoundError as error:
        raise UsageError(f"{url}: no such file ({what})") from error
    except Exception as error:  # torch raises many kinds
        raise UsageError(f"{url}: not a file of weights ({type(error).__name__})") from error
    if "average" in content:
        return {"weights": content["average"]["state"], "network": content["config"]["network"]}
    for key in ("net_G_ema", "state_dict"):
        if isinstance(content.get(key), dict):
            weights = {name.removeprefix("module."): value for name, value in content[key].items()}
            return {"weights": weights, "network": content.get("network", {})}
    raise UsageError(
        f"{url}: neither a checkpoint nor an export of `retalk train`; it holds {', '.join(map(str, list(content)[:5]))}"
    )


def _freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        hit = set(fnmatch.filter(names, pattern))
        if not hit:
            raise UsageError(f"--freeze {pattern}: fits no parameter; the first are {', '.join(names[:3])}")
        for name, parameter in network.named_parameters():
            if name in hit:
                parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError("--freeze: nothing is left to train")


def _features(file: str) -> nn.Module:
    if file == "random":
        return random_features()
    return _of_state(vgg19, listed(file or "official", FEATURES, "--features"))


def listed(file: str, name: str, option: str) -> str:
    """Path of a file, or of the registry's file of that name where it is "official".

    Raises:
        UsageError: it is not here; says how to fetch it.
    """
    try:
        return str(require([name])[name]) if file == "official" else file
    except WeightsError as error:
        trials = "; --features random does without, for trials" if option == "--features" else ""
        raise UsageError(f"{option}: give a file, or install {name}: {error}{trials}") from error


def _of_state(build: Any, url: str) -> nn.Module:
    try:
        with local_copy(url) as path:
            made: nn.Module = build(read(str(path)))
    except FileNotFoundError as error:
        raise UsageError(f"{url}: no such file") from error
    except Exception as error:  # torch raises many kinds
        raise UsageError(
            f"{url}: not the weights of {build.__name__} ({str(error).splitlines()[0]})"
        ) from error
    return made


def _speaker(name: str) -> nn.Module:
    if name == "official":
        try:
            return load("lnet").requires_grad_(False)
        except WeightsError as error:
            raise UsageError(str(error)) from error
    from retalk_models.training.initial import initial

    found = _trained(name, "speaker")
    network = initial("lnet", **found["network"])
    _fill(network, found["weights"], name)
    return network.requires_grad_(False).eval()
