"""A home of model files with made-up weights, in the official names and nestings: the engine's real loading
code reads them.

Weights follow the parity recipe where ../shared is at hand, and a rule of the same kind by shape otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch

from retalk_models.build import build
from retalk_models.registry.catalog import load_catalog
from tests.parity import generator, manifest, recipe_weights

State = dict[str, torch.Tensor]
#: File -> network and how the file holds its state dict
#: (docs/reference.md#14-how-the-files-hold-the-weights).
NESTINGS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "DNet.pt": ("dnet", lambda s: {"net_G_ema": s}),
    "LNet.pth": ("lnet", lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}),
    "ENet.pth": ("enet", lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}),
    "face3d_pretrain_epoch_20.pth": ("face3d", lambda s: {"net_recon": s}),
    "GFPGANv1.3.pth": ("gfpgan", lambda s: {"params_ema": s}),
    "GPEN-BFR-512.pth": ("gpen", lambda s: s),
    "ParseNet-latest.pth": ("parsenet", lambda s: s),
    "30_net_gen.pth": ("ganimation", lambda s: s),
}
OPTIONS = {"enet": {"low_res": False}}


def _by_shape(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that keep activations in range: fan-in for matrices and filters, about 1 for gains, small for
    the rest.
    """
    z = generator(key).standard_normal(shape, np.float32)
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        return 1 + 0.1 * abs(z)
    if key.endswith(("weight_u", "weight_v")):
        return z / np.linalg.norm(z)
    return (
        z / math.sqrt(math.prod(shape[2 if len(shape) == 5 and shape[0] == 1 else 1 :]))
        if len(shape) > 1
        else 0.1 * z
    )


def made_up(name: str) -> State:
    """A network's made-up state dict under the official keys."""
    own = build(name, **OPTIONS.get(name, {})).state_dict()
    entries = manifest(name)
    if entries is not None:
        made = {
            entry.key: torch.from_numpy(value)
            for entry, value in zip(entries, recipe_weights(entries).values(), strict=True)
        }
        return {key: made[key] for key in own}
    constants = {
        key for key, value in own.items() if value.is_floating_point() and bool(value.abs().sum() > 0)
    }
    return {
        key: value
        if key in constants or not value.is_floating_point()
        else torch.from_numpy(_by_shape(key, tuple(value.shape)))
        for key, value in own.items()
    }


def make_home(folder: Path, files: Iterable[str], expression: np.ndarray, points: np.ndarray) -> Path:
    """Write model files into ``folder/models``.

    Args:
        folder: the home.
        files: names of `NESTINGS`.
        expression: float32[64], the neutral template.
        points: float[68, 3], landmarks of the standard face.
    """
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    assert set(NESTINGS) <= set(load_catalog().files)
    for file in files:
        name, nesting = NESTINGS[file]
        torch.save(nesting(made_up(name)), models / file)
    smile = expression[::-1]
    scipy.io.savemat(
        models / "expression.mat", {"expression_center": expression[None], "expression_mouth": smile[None]}
    )
    scipy.io.savemat(models / "similarity_Lm3D_all.mat", {"lm": points})
    return folder


def standard_landmarks(five: np.ndarray) -> np.ndarray:
    """float64[68, 3] whose five points (eyes, nose, corners of the mouth) are those given, float[5, 3]."""
    points = np.zeros((68, 3))
    points[[36, 39]], points[[42, 45]] = five[0], five[1]
    points[30], points[48], points[54] = five[2], five[3], five[4]
    return points
