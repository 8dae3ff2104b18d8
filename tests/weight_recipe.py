"""Made-up weights by the recipe of the parity fixtures: which rule makes which key, network by network, and the
rules themselves.

Imports numpy and torch only, and no file: `benchmarks.gpu` makes its weights with it on machines that have nothing
else. A test holds the tables against the manifests where ``../shared`` is present.
"""

from __future__ import annotations

import dataclasses
import math
import re
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from torch import nn

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


def generator(name: str) -> np.random.Generator:
    """The recipe's random stream of a name."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8"))))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One state_dict entry: how the recipe makes it, and its checksum where a manifest gives one."""

    key: str
    shape: tuple[int, ...]
    init: str
    crc32: int | None = None
    value: object = None


def draw(entry: Entry, made: Mapping[str, np.ndarray]) -> np.ndarray:
    """One entry by the recipe (README section 2): float64 throughout, one cast to float32 at the end.

    Args:
        entry: what to make.
        made: entries made so far; ``sn_v`` depends on two of its neighbours.

    Raises:
        ValueError: unknown rule.
    """
    rule, _, factor = entry.init.partition("*")
    shape = entry.shape
    if rule == "int0":
        return np.zeros(shape, np.int64)
    if rule == "keep":
        return np.asarray(entry.value, np.float32).reshape(shape)
    if rule == "zero":
        return np.zeros(shape, np.float32)
    if rule == "sn_v":
        prefix = entry.key.removesuffix("weight_v")
        weight = made[prefix + "weight_orig"].astype(np.float64)
        v = weight.reshape(len(weight), -1).T @ made[prefix + "weight_u"].astype(np.float64)
        return (v / np.linalg.norm(v)).astype(np.float32)
    z = generator(entry.key).standard_normal(shape)
    if rule == "conv":
        z /= math.sqrt(math.prod(shape[1:]))
    elif rule == "modconv":
        z /= math.sqrt(math.prod(shape[2:]))
    elif rule in ("gain", "bias1"):
        z = 1 + 0.1 * z
    elif rule in ("bias", "rmean"):
        z = 0.1 * z
    elif rule == "rvar":
        z = 1 + 0.1 * np.abs(z)
    elif rule == "sn_u":
        z /= np.linalg.norm(z)
    elif rule != "std":
        raise ValueError(f"{entry.key}: unknown rule {entry.init!r}")
    return (z * float(factor) if factor else z).astype(np.float32)


def recipe_weights(entries: Iterable[Entry]) -> dict[str, np.ndarray]:
    """All entries by the recipe, each held against its checksum.

    Raises:
        AssertionError: a checksum differs: the recipe is wrong, not the network.
    """
    made: dict[str, np.ndarray] = {}
    for entry in entries:
        array = draw(entry, made)
        if entry.crc32 is not None:
            crc = zlib.crc32(np.ascontiguousarray(array, dtype="<f4").data)
            assert crc == entry.crc32, f"recipe differs from the manifest at {entry.key} ({entry.init})"
        made[entry.key] = array
    return made
