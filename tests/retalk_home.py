"""A home of model files with made-up weights, in the official names and nestings: the engine's real loading
code reads them.

Weights follow the parity recipe where ../shared is at hand, and otherwise the rule of the set-up check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch

from retalk_models.build import build
from retalk_models.inference import numerics
from retalk_models.registry.catalog import load_catalog
from tests.parity import manifest
from tests.weight_recipe import recipe_weights

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


def made_up(name: str) -> State:
    """A network's made-up state dict under the official keys."""
    module = build(name, **OPTIONS.get(name, {}))
    entries = manifest(name)
    if entries is None:
        return dict(numerics.made_up(module).state_dict())
    made = {
        entry.key: torch.from_numpy(value)
        for entry, value in zip(entries, recipe_weights(entries).values(), strict=True)
    }
    return {key: made[key] for key in module.state_dict()}


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
