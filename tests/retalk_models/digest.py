"""The committed digest: sampled outputs of every network for made-up inputs and recipe weights.

Written by ``python -m tests.retalk_models.digest`` from modules that match the goldens; read where
``../shared`` is absent, and everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from retalk_models.build import NETWORKS
from tests.parity import NETWORK_TOLERANCE, manifest
from tests.retalk_models.recipe import keys_crc32, recipe_crc32, subject_of
from tests.weight_recipe import derived_entries, generator

PATH = Path(__file__).with_name("digest.json")
NUM_SAMPLES = 24
#: Networks that were held against another package's (torchvision's trunks inside pytorch-fid 0.3.0 and lpips 0.1.4, with
#: the same made-up weights: no difference), and have no manifest.
PACKAGED = ("inception", "lpips")


def sample(name: str, key: str, array: np.ndarray) -> np.ndarray:
    """Values at places that the recipe's generator names."""
    return array.ravel()[generator(f"digest-{name}-{key}").integers(0, array.size, NUM_SAMPLES)]


def digest(name: str) -> dict[str, object]:
    """A network's digest."""
    subject = subject_of(name)
    outputs = {
        key: {
            "shape": list(array.shape),
            "peak": float(f"{np.abs(array).max():.6g}"),
            "values": [float(f"{v:.7g}") for v in sample(name, key, array.astype(np.float64))],
        }
        for key, array in subject.outputs.items()
    }
    listed = derived_entries(name, subject.module) if name in PACKAGED else manifest(name)
    assert listed is not None, "the digest is written where the manifests of the original are"
    return {
        "keys_crc32": keys_crc32(subject.module),
        "recipe_crc32": recipe_crc32(listed),
        "outputs": outputs,
    }


def assert_matches(name: str, outputs: dict[str, np.ndarray], expected: dict[str, dict]) -> None:
    """Hold outputs against a digest.

    Raises:
        AssertionError: other names or shapes, or a sampled value that differs by more than the parity
            tolerance.
    """
    assert set(outputs) == set(expected), name
    for key, array in outputs.items():
        entry = expected[key]
        assert list(array.shape) == entry["shape"], f"{name} {key}"
        gap = np.abs(sample(name, key, array.astype(np.float64)) - entry["values"]).max()
        allowed = NETWORK_TOLERANCE * max(1.0, entry["peak"])
        assert gap <= allowed, f"{name} {key}: differs by {gap:.3g}, allowed {allowed:.3g}"


if __name__ == "__main__":
    PATH.write_text(
        json.dumps({name: digest(name) for name in NETWORKS}, separators=(",", ":")).replace('},"', '},\n"')
        + "\n"
    )
