"""Harness of the parity tests: weights by recipe, goldens, comparison. Serves the networks and the pure
functions alike.

``RETALK_PARITY_GOLDENS=<dir>`` takes the goldens (``<dir>/<net>/golden.npz``, ``<dir>/functions/*.npz``,
``<dir>/e2e/*.npz``) from another folder of the same layout; manifests are always those of
``../shared/parity``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.conftest import PARITY
from tests.weight_recipe import Entry

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


def manifest(name: str) -> list[Entry] | None:
    """Entries of a network's manifest, None where ``../shared`` is absent."""
    path = PARITY / name / "manifest.json"
    if not path.exists():
        return None
    entries = json.loads(path.read_text())["state_dict"]
    return [Entry(e["key"], tuple(e["shape"]), e["init"], e.get("crc32"), e.get("value")) for e in entries]


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
