"""A trained model of talkin, `talkin.pt`: both networks, their sizes, and the factors that they speak of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from operators.talkin.factors import Factors
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import home_registry
from retalk_models.talkin.expression import ExpressionNet
from retalk_models.talkin.renderer import Renderer

#: The model's file in the catalogue.
FILE = "talkin.pt"
FORMAT = 1


@dataclasses.dataclass
class TalkinModel:
    """Both networks.

    Attributes:
        factors: of the expression.
        expression: sound to expression.
        renderer: paints.
        side: of the renderer's crops, pixels.
        about: what it was trained on and how, as JSON.
    """

    factors: Factors
    expression: ExpressionNet
    renderer: Renderer
    side: int
    about: dict[str, Any]

    def content(self, expression: Mapping[str, int], renderer: Mapping[str, int]) -> dict[str, Any]:
        """Content of the file: tensors and plain values.

        Args:
            expression, renderer: constructor arguments of the networks.
        """
        return {
            "format": FORMAT,
            "side": self.side,
            "about": self.about,
            "sizes": {"expression": dict(expression), "renderer": dict(renderer)},
            "factors": {
                "kind": self.factors.kind,
                "basis": torch.from_numpy(self.factors.basis),
                "scale": torch.from_numpy(self.factors.scale),
            },
            "expression": self.expression.state_dict(),
            "renderer": self.renderer.state_dict(),
        }


def read_model(path: Path) -> TalkinModel:
    """Read a model's file, without running code from it.

    Raises:
        WeightsError: it is damaged or something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, not {FORMAT}")
        factors = content["factors"]
        expression = ExpressionNet(len(factors["scale"]), **content["sizes"]["expression"])
        expression.load_state_dict(content["expression"])
        renderer = Renderer(**content["sizes"]["renderer"])
        renderer.load_state_dict(content["renderer"])
        found = Factors(factors["kind"], factors["basis"].numpy(), factors["scale"].numpy())
        side = int(content["side"])
    except Exception as problem:  # torch raises what it pleases on damaged files
        raise WeightsError(
            f"{path}: is no model of talkin ({problem}): write it with `retalk train talkin`", [FILE]
        ) from problem
    return TalkinModel(found, expression.eval(), renderer.eval(), side, dict(content["about"]))


@functools.lru_cache(maxsize=2)
def shared_model(device: str, weights: str) -> TalkinModel:
    """This process's model on a device: stages that are fused into one worker load it once.

    Args:
        device: torch device.
        weights: home of the file (its folder ``models``); "": the usual one.

    Raises:
        WeightsError: it is missing or damaged.
    """
    registry = home_registry(weights)
    model = read_model(registry.require([FILE])[FILE])
    model.expression.to(device)
    model.renderer.to(device)
    return model


def predict_expression(network: ExpressionNet, chunks: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Return expression float64[N, E] of the chunks float32[N, 80, 16] of a whole speech."""
    with torch.inference_mode():
        found, _ = network(torch.from_numpy(np.ascontiguousarray(chunks)).to(device)[None])
    return found[0].double().cpu().numpy()
