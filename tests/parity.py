"""Harness of the parity tests: weights by recipe, goldens, comparison. Serves the networks and the pure
functions alike.

``RETALK_PARITY_GOLDENS=<dir>`` takes the goldens (``<dir>/<net>/golden.npz``, ``<dir>/functions/*.npz``,
``<dir>/e2e/*.npz``) from another folder of the same layout; manifests are always those of
``../shared/parity``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.conftest import PARITY

#: Largest difference allowed, relative to the largest value of the expected array where that exceeds 1.
TOLERANCE = 1e-4
#: Of whole networks in float32. D-Net with made-up weights is the most sensitive: 1.0e-4 off its float64 result with
#: oneDNN's AVX2 kernels, 0.4e-4 with AVX-512; another layer or a lost key is off by more than 1e-2.
NETWORK_TOLERANCE = 5e-4


def goldens() -> Path | None:
    """The folder of goldens, None where there is none beside this checkout.

    Raises:
        FileNotFoundError: ``RETALK_PARITY_GOLDENS`` names a folder that does not exist.
    """
    named = os.environ.get("RETALK_PARITY_GOLDENS")
    if named and not Path(named).is_dir():
        raise FileNotFoundError(f"RETALK_PARITY_GOLDENS={named}: no such folder")
    folder = Path(named) if named else PARITY
    return folder if folder.is_dir() else None


def golden_names() -> list[str]:
    """Names of the networks that have a ``golden.npz`` here."""
    folder = goldens()
    return sorted(path.parent.name for path in folder.glob("*/golden.npz")) if folder else []


def golden(relative: str) -> dict[str, np.ndarray]:
    """All arrays of one golden file, e.g. ``"lnet/golden.npz"`` or ``"functions/semantic.npz"``."""
    folder = goldens()
    assert folder is not None
    with np.load(folder / relative, allow_pickle=False) as arrays:
        return dict(arrays)


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


def manifest(name: str) -> list[Entry] | None:
    """Entries of a network's manifest, None where ``../shared`` is absent."""
    path = PARITY / name / "manifest.json"
    if not path.exists():
        return None
    entries = json.loads(path.read_text())["state_dict"]
    return [Entry(e["key"], tuple(e["shape"]), e["init"], e.get("crc32"), e.get("value")) for e in entries]


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


def stride(array: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """``array`` subsampled on its last ``len(steps)`` axes."""
    assert len(steps) <= array.ndim, f"{array.ndim} axes, steps {tuple(steps)}"
    return array[(..., *(slice(None, None, step) for step in steps))]


def difference(ours: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference, divided by the largest expected value where that exceeds 1; infinite where
    a value is not a number.
    """
    gap = np.abs(np.asarray(ours, np.float64) - np.asarray(expected, np.float64))
    worst = float(np.max(gap, initial=0.0)) / max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    return worst if math.isfinite(worst) else math.inf


def assert_close(label: str, ours: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Hold an array against what is expected of it.

    Raises:
        AssertionError: another shape, or a difference above the tolerance.
    """
    assert ours.shape == expected.shape, f"{label}: shape {ours.shape}, expected {expected.shape}"
    worst = difference(ours, expected)
    assert worst <= tolerance, f"{label}: differs by {worst:.3g} (relative), allowed {tolerance:g}"
