"""Recipe weights without a manifest: which rule makes which key, network by network.

A test holds these tables against the manifests where ``../shared`` is present; where it is absent they keep
the digest tests alive.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from retalk_models import build
from tests.parity import Entry, manifest, recipe_weights
from tests.retalk_models.adapters import run
from tests.retalk_models.digest_inputs import inputs

#: Rules of one network, tried in order before `COMMON`: pattern found in the key -> rule.
OWN: dict[str, dict[str, str]] = {
    "dnet": {r"flow_out\.2\.weight": "conv*8"},
    "enet": {
        r"^style_convs\.\d\.weight": "zero",
        r"modulation\.bias": "bias1",
        r"^to_rgbs.*modulated_conv\.weight": "modconv*0.35",
        r"modulated_conv\.weight": "modconv",
    },
    "face3d": {
        r"backbone\.conv1\.weight": "conv*6",
        r"bn\d\.bias": "zero",
        r"bn3\.weight": "gain*0.5",
    },
    "fan": {r"(bn\w*|downsample\.0)\.weight": "gain*0.5", r"^[ab]l\d\.weight": "conv*0.5"},
    "gfpgan": {
        r"style_conv(1|s\.\d+)\.weight": "zero",
        r"modulation\.bias": "bias1",
        r"to_rgb.*modulated_conv\.weight": "modconv*0.1",
        r"modulated_conv\.weight": "modconv",
        r"constant_input|noises": "std",
    },
    "gpen": {
        r"modulation\.bias": "bias1",
        r"noise\.weight": "gain",
        r"generator\.style.*weight": "std*100",
        r"to_rgb(1|s\.\d)\.conv\.weight": "std*0.25",
        r"weight|input": "std",
    },
    "inception": {r"conv\.weight": "conv*1.5"},
    "lpips": {r"^lin": "gain"},
    "retinaface": {r"(bn3|downsample\.1)\.weight": "gain*0.5"},
    "s3fd": {r"norm\.weight": "gain*8"},
}
COMMON = {
    r"num_batches_tracked": "int0",
    r"running_mean": "rmean",
    r"running_var": "rvar",
    r"weight_u": "sn_u",
    r"weight_v": "sn_v",
    r"kernel": "keep",
    r"bias": "bias",
}


def rule(name: str, key: str, shape: tuple[int, ...]) -> str:
    """The init rule of one key: a table's, or, for other weights, "conv" where they have a fan-in and "gain"
    where they scale channels.
    """
    tables = (
        [COMMON]
        if "num_batches" in key or "running" in key or "kernel" in key
        else [OWN.get(name, {}), COMMON]
    )
    for table in tables:
        for pattern, init in table.items():
            if re.search(pattern, key):
                return init
    return "gain" if len(shape) == 1 or shape[1:] == (1, 1) else "conv"


def derived_entries(name: str, module: nn.Module) -> list[Entry]:
    """Entries of a built network by `rule`; constant buffers keep the module's own values."""
    entries = []
    for key, value in module.state_dict().items():
        shape = tuple(value.shape)
        init = rule(name, key, shape)
        entries.append(Entry(key, shape, init, value=value.tolist() if init == "keep" else None))
    return entries


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
