"""Small made-up inputs of the networks, and the calls that run a network on them; for checks of its numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.region import Region


def picture(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """A smooth picture float32[shape] between two values, the same every time: white noise is nothing that a
    network sees.
    """
    *outer, height, width = shape
    grid = torch.rand(
        math.prod(outer),
        1,
        height // 16 + 2,
        width // 16 + 2,
        generator=torch.Generator().manual_seed(len(shape)),
    )
    return F.interpolate(grid, (height, width), mode="bilinear").reshape(shape) * (high - low) + low


def numbers(*shape: int) -> Tensor:
    """Standard normal numbers float32[shape], the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


Put = Callable[[Tensor], Tensor]


def _enet(net: Any, put: Put) -> Any:
    code = net.style_code(put(picture(1, 3, 64, 64)))  # read at 256 px, whatever is given
    return code, net.draw(put(picture(1, 3, 16, 16)), code)


def _parsenet(net: Any, put: Put) -> Any:
    return net.logits(put(picture(1, 3, 128, 128, low=-1)))


def _syncnet(net: Any, put: Put) -> Any:
    return net.forward_lip(put(picture(1, 3, 5, 224, 224, high=255))), net.forward_aud(
        put(numbers(1, 1, 13, 20))
    )


#: Calls of each network with a small input, by the methods that stages call. Where Winograd's algorithm is to be checked it is
#: large enough for that (`layers.winograd.fits`). GFPGAN and GPEN take pictures of 512 px and no others.
PROBES: dict[str, Callable[[Any, Put], Any]] = {
    "dnet": lambda net, put: net(put(picture(1, 3, 128, 128, low=-1)), put(numbers(1, 73, 26))),
    "lnet": lambda net, put: net(put(numbers(1, 1, 80, 16)), put(picture(1, 6, 32, 32))),
    "enet": _enet,
    "face3d": lambda net, put: net(put(picture(1, 3, 96, 96))),
    "gfpgan": lambda net, put: net(
        put(picture(1, 3, 512, 512, low=-1)), return_rgb=False, region=Region(376, 392, 248, 264)
    )[0],
    "gpen": lambda net, put: net(put(picture(1, 3, 512, 512, low=-1)))[0],
    "parsenet": _parsenet,
    "retinaface": lambda net, put: net(put(picture(1, 3, 96, 128, low=-110, high=130))),
    "s3fd": lambda net, put: net(put(picture(1, 3, 96, 128, low=-110, high=130))),
    "fan": lambda net, put: net(put(picture(1, 3, 128, 128)))[-1],
    "ganimation": lambda net, put: net(put(picture(1, 3, 64, 64, low=-1)), put(numbers(1, 17))),
    "syncnet": _syncnet,
    "inception": lambda net, put: net(put(picture(1, 3, 96, 96))),
    "lpips": lambda net, put: net(put(picture(2, 3, 64, 64)), put(picture(2, 3, 64, 64, high=0.5))),
    "wav2lip": lambda net, put: net(put(numbers(1, 1, 80, 16)), put(picture(1, 6, 96, 96))),
}


def tensors_of(value: Any) -> list[Tensor]:
    """Tensors inside a network's output, as float32 on the CPU."""
    if isinstance(value, Tensor):
        return [value.float().cpu().contiguous()]
    if value is None:
        return []
    return [
        tensor
        for item in (value.values() if isinstance(value, dict) else value)
        for tensor in tensors_of(item)
    ]


def probe(name: str, module: nn.Module) -> tuple[list[Tensor], float]:
    """Outputs of a network for its small input, and the seconds that took. In eval mode, on the module's
    device.

    Args:
        name: a key of `PROBES`.
        module: the network.
    """
    device = next(module.parameters()).device
    began = time.perf_counter()
    with torch.inference_mode():
        outputs = tensors_of(PROBES[name](module, lambda tensor: tensor.to(device)))
    return outputs, time.perf_counter() - began
