"""The networks as the stages call them, with made-up inputs and weights, for `benchmarks.networks` and
`benchmarks.gpu`. Imports torch and numpy only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.retalk.geometry import MOUTH, TOP
from retalk_models.build import build
from retalk_models.inference.optimize import OptimizationConfig
from retalk_models.layers.region import Region
from tests.weight_recipe import derived_entries, recipe_weights


@functools.cache
def made_up(name: str) -> dict[str, Tensor]:
    """A network's weights by the recipe; E-Net's without its L-Net."""
    module = build(name, **({"low_res": False} if name == "enet" else {}))
    return {
        key: torch.from_numpy(value) for key, value in recipe_weights(derived_entries(name, module)).items()
    }


def picture(*shape: int, low: float = 0.0, high: float = 1.0) -> Callable[[int], Tensor]:
    """Smooth random pictures between two values: networks never see white noise."""

    def make(batch: int) -> Tensor:
        *outer, height, width = shape
        grid = torch.rand(batch, *outer, height // 16 + 1, width // 16 + 1)
        flat = F.interpolate(grid.flatten(1, -3), (height, width), mode="bilinear")
        return flat.reshape(batch, *shape) * (high - low) + low

    return make


def normal(*shape: int) -> Callable[[int], Tensor]:
    """Standard normal numbers."""
    return lambda batch: torch.randn(batch, *shape)


@dataclasses.dataclass(frozen=True)
class Case:
    """One way in which a stage calls a network.

    Attributes:
        network: its name.
        inputs: makers of the arguments for a batch size.
        method: called instead of ``forward``.
        build: options of `retalk_models.build`.
        arguments: further keyword arguments of the call.
    """

    network: str
    inputs: tuple[Callable[[int], Tensor], ...]
    method: str = "__call__"
    build: dict[str, Any] = dataclasses.field(default_factory=dict)
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    def call(self, module: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
        """All tensors that the call gives."""
        return tensors_of(getattr(module, self.method)(*tensors, **self.arguments))

    def exact(self) -> nn.Module:
        """The exact form with recipe weights."""
        module = build(self.network, **self.build)
        module.load_state_dict(made_up(self.network), strict=True, assign=True)
        return module


ENET = {"low_res": False}
LOW_AND_FACES = (picture(3, 96, 96), picture(6, 384, 384))
CASES = {
    "face3d": Case("face3d", (picture(3, 224, 224),)),
    "dnet": Case("dnet", (picture(3, 256, 256, low=-1), normal(73, 26))),
    "lnet": Case("lnet", (normal(1, 80, 16), picture(6, 96, 96))),
    "enet, own part": Case("enet", LOW_AND_FACES, "enhance", ENET),
    f"enet, rows from {TOP}": Case("enet", LOW_AND_FACES, "enhance", ENET, {"top": TOP}),
    "gfpgan": Case("gfpgan", (picture(3, 512, 512, low=-1),), arguments={"return_rgb": False}),
    "gfpgan, the mouth": Case(
        "gfpgan", (picture(3, 512, 512, low=-1),), arguments={"return_rgb": False, "region": MOUTH}
    ),
    "gpen": Case("gpen", (picture(3, 512, 512, low=-1),)),
    "parsenet": Case("parsenet", (picture(3, 512, 512, low=-1),)),
    "parsenet, eyes to chin": Case("parsenet", (picture(3, 320, 384, low=-1),), "logits"),
    "retinaface 640x360": Case("retinaface", (picture(3, 360, 640, low=-110, high=130),)),
    "s3fd 640x360": Case("s3fd", (picture(3, 360, 640, low=-110, high=130),)),
    "fan": Case("fan", (picture(3, 256, 256),)),
    "ganimation": Case("ganimation", (picture(3, 128, 128, low=-1), normal(17))),
    "syncnet, lips": Case("syncnet", (picture(3, 5, 224, 224, high=255),), "forward_lip"),
    "syncnet, sound": Case("syncnet", (normal(1, 13, 20),), "forward_aud"),
    "wav2lip": Case("wav2lip", (normal(1, 80, 16), picture(6, 96, 96))),
}
#: The same with small inputs, for tests on a CPU.
SMALL = {
    "dnet": Case("dnet", (picture(3, 64, 64, low=-1), normal(73, 26))),
    "lnet": Case("lnet", (normal(1, 80, 16), picture(6, 32, 32))),
    "enet": Case("enet", (picture(3, 16, 16), normal(512)), "draw", ENET),
    "gfpgan": Case(
        "gfpgan",
        (picture(3, 512, 512, low=-1),),
        arguments={"return_rgb": False, "region": Region(376, 392, 248, 264)},
    ),
    "parsenet": Case("parsenet", (picture(3, 64, 64, low=-1),), "logits"),
}
FORMS = {
    "folded": OptimizationConfig(),
    "folded, channels last": OptimizationConfig(channels_last=True),
    "folded, channels last, winograd": OptimizationConfig(channels_last=True, winograd=("",)),
    "tf32": OptimizationConfig(channels_last=True),
    "bfloat16": OptimizationConfig(channels_last=True, dtype=torch.bfloat16),
    "float16": OptimizationConfig(channels_last=True, dtype=torch.float16),
    "compiled": OptimizationConfig(channels_last=True, compile=True),
    "bfloat16, compiled": OptimizationConfig(channels_last=True, dtype=torch.bfloat16, compile=True),
    "float16, compiled": OptimizationConfig(channels_last=True, dtype=torch.float16, compile=True),
}


def tensors_of(value: Any) -> list[Tensor]:
    """Tensors inside a network's output."""
    if isinstance(value, Tensor):
        return [value]
    if value is None:
        return []
    return [
        tensor
        for item in (value.values() if isinstance(value, dict) else value)
        for tensor in tensors_of(item)
    ]


@contextlib.contextmanager
def tensor_cores_in_float32(allowed: bool) -> Iterator[None]:
    """TF32 products on or off: torch lets convolutions use them by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def errors(ours: list[Tensor], exact: list[Tensor]) -> tuple[float, float]:
    """Largest and mean difference over all outputs, each relative to its largest value where that exceeds 1."""
    pairs = [
        ((a.float().cpu() - b.float().cpu()).abs(), max(1.0, float(b.abs().max())))
        for a, b in zip(ours, exact, strict=True)
    ]
    return max(float(gap.max()) / scale for gap, scale in pairs), max(
        float(gap.mean()) / scale for gap, scale in pairs
    )
