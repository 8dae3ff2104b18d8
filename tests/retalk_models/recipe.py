"""Networks with recipe weights, by the manifest where ``../shared`` is present and without it otherwise."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from retalk_models import build
from tests.parity import manifest
from tests.retalk_models.adapters import run
from tests.retalk_models.digest_inputs import inputs
from tests.weight_recipe import Entry, derived_entries, recipe_weights


def entries(name: str, module: nn.Module) -> list[Entry]:
    """A network's entries: the manifest's, or derived ones. E-Net's without its L-Net."""
    listed = manifest(name)
    if listed is not None:
        return listed
    derived = derived_entries(name, module)
    return [entry for entry in derived if not entry.key.startswith("low_res.")]


def keys_crc32(module: nn.Module) -> int:
    """Checksum of all keys and shapes, whatever their order."""
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in module.state_dict().items())
    return zlib.crc32("\n".join(lines).encode())


def recipe_crc32(listed: Iterable[Entry]) -> int:
    """Checksum of a network's entries: keys, shapes and rules in order."""
    return zlib.crc32("\n".join(f"{entry.key} {entry.shape} {entry.init}" for entry in listed).encode())


class Subject:
    """A network with recipe weights, and its exact outputs for the digest's inputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = build(name)
        self.made = recipe_weights(entries(name, self.module))
        weights = dict(self.made)
        if name == "enet":  # the embedded L-Net's weights are drawn under its bare keys
            weights |= {
                f"low_res.{key}": value
                for key, value in recipe_weights(entries("lnet", self.module.low_res)).items()
            }
        self.weights = {key: torch.from_numpy(value) for key, value in weights.items()}
        self.module.load_state_dict(self.weights, strict=True, assign=True)

    def fresh(self) -> nn.Module:
        """Another module on the same weights, to be rewritten."""
        module = build(self.name)
        module.load_state_dict(self.weights, strict=True, assign=True)
        return module

    @functools.cached_property
    def outputs(self) -> dict[str, np.ndarray]:
        """Exact outputs for the digest's inputs."""
        return run(self.name, self.module, inputs(self.name))


@functools.lru_cache(maxsize=1)
def subject_of(name: str) -> Subject:
    """One at a time: weights take seconds to draw and half a gigabyte to keep."""
    return Subject(name)
