"""Check a network's form against its exact form on the device it runs on, and take the next safer form where
it is wrong.

Kernels differ from processor to processor: a form that is right on one can give infinities on another. The
check runs a small made-up input through the network before and after it is optimised; what it costs is little
beside loading the weights.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.inference.optimize import OptimizationConfig, default_optimization, optimize
from retalk_models.layers.region import Region

logger = logging.getLogger(__name__)

#: Largest difference from the exact form that is taken for rounding, relative to the largest exact value
#: where that exceeds 1, and the same for the differences' root mean square, relative to the standard
#: deviation of the exact values. Made-up weights reach a fifth of them
#: (`tests/retalk_models/inference/test_optimize.py`), trained ones less.
FLOAT32_BOUND, FLOAT32_RMS = 0.05, 0.05
HALF_BOUND, HALF_RMS = 0.5, 0.5
#: A form of which this was found in this process: network, digest of the weights, form, device.
_found: dict[tuple[str, int, OptimizationConfig | None, str], Accuracy] = {}


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Accuracy of one form of one network on one device.

    Attributes:
        network: its name.
        form: None: as built.
        device: torch device string, with the processor's instruction set where it is a CPU.
        error: largest difference from the exact form, relative to the largest exact value where that exceeds
            1; infinite where a value is not finite.
        rms: root mean square of the differences, relative to the standard deviation of the exact values.
        seconds: of one call with the small input.
    """

    network: str
    form: OptimizationConfig | None
    device: str
    error: float
    rms: float
    seconds: float

    @property
    def ok(self) -> bool:
        """The differences are rounding."""
        half = self.form is not None and self.form.dtype != torch.float32
        bound, rms = (HALF_BOUND, HALF_RMS) if half else (FLOAT32_BOUND, FLOAT32_RMS)
        return self.error <= bound and self.rms <= rms

    def __str__(self) -> str:
        figures = (
            f"largest error {self.error:.2g}, RMS {self.rms:.2g}"
            if math.isfinite(self.error)
            else "values that are not finite (inf or nan)"
        )
        return f"{self.network}, {describe(self.form)}, on {self.device}: {figures}"


class NumericsError(ValueError):
    """A network gives no usable numbers even in its exact form."""


def describe(form: OptimizationConfig | None) -> str:
    """Name of a form, e.g. ``bfloat16 channels last``."""
    if form is None:
        return "the exact form"
    words = [str(form.dtype).removeprefix("torch.")]
    options = (("channels last", form.channels_last), ("Winograd", form.winograd), ("compiled", form.compile))
    words += [word for word, chosen in options if chosen]
    return " ".join(words)


def device_name(device: str | torch.device) -> str:
    """A device with what decides its kernels, e.g. ``cpu (AVX512)`` or ``cuda:0 (NVIDIA H100)``."""
    torch_device = torch.device(device)
    if torch_device.type == "cpu":
        return f"cpu ({torch.backends.cpu.get_cpu_capability()})"
    return (
        f"{torch_device} ({torch.cuda.get_device_name(torch_device)})"
        if torch_device.type == "cuda"
        else str(torch_device)
    )


# --- inputs -------------------------------------------------------------------------------------------------
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


def _enet(net: Any, put: Callable[[Tensor], Tensor]) -> Any:
    code = net.style_code(put(picture(1, 3, 64, 64)))
    return code, net.draw(put(picture(1, 3, 96, 96)), code, top=352)


def _syncnet(net: Any, put: Callable[[Tensor], Tensor]) -> Any:
    return net.forward_lip(put(picture(1, 3, 5, 224, 224, high=255))), net.forward_aud(
        put(numbers(1, 1, 13, 20))
    )


#: Calls of each network with a small input, by the methods that stages call.
PROBES: dict[str, Callable[[Any, Callable[[Tensor], Tensor]], Any]] = {
    "dnet": lambda net, put: net(put(picture(1, 3, 128, 128, low=-1)), put(numbers(1, 73, 26))),
    "lnet": lambda net, put: net(put(numbers(1, 1, 80, 16)), put(picture(1, 6, 32, 32))),
    "enet": _enet,
    "face3d": lambda net, put: net(put(picture(1, 3, 96, 96))),
    "gfpgan": lambda net, put: net(
        put(picture(1, 3, 512, 512, low=-1)), return_rgb=False, region=Region(376, 392, 248, 264)
    )[0],
    "gpen": lambda net, put: net(put(picture(1, 3, 512, 512, low=-1)))[0],
    "parsenet": lambda net, put: net.logits(put(picture(1, 3, 128, 128, low=-1))),
    "retinaface": lambda net, put: net(put(picture(1, 3, 96, 128, low=-110, high=130))),
    "s3fd": lambda net, put: net(put(picture(1, 3, 96, 128, low=-110, high=130))),
    "fan": lambda net, put: net(put(picture(1, 3, 128, 128)))[-1],
    "ganimation": lambda net, put: net(put(picture(1, 3, 64, 64, low=-1)), put(numbers(1, 17))),
    "syncnet": _syncnet,
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
    """
    device = next(module.parameters()).device
    began = time.perf_counter()
    with torch.inference_mode():
        outputs = tensors_of(PROBES[name](module, lambda tensor: tensor.to(device)))
    return outputs, time.perf_counter() - began


def differences(outputs: list[Tensor], exact: list[Tensor]) -> tuple[float, float]:
    """`Accuracy.error` and `Accuracy.rms`, the worst over all outputs."""
    error = rms = 0.0
    for ours, theirs in zip(outputs, exact, strict=True):
        gap = ours.double() - theirs.double()
        if not bool(torch.isfinite(gap).all()):
            return math.inf, math.inf
        error = max(error, gap.abs().max().item() / max(1.0, theirs.abs().max().item()))
        spread = theirs.double().std(correction=0).item()
        if spread > 1e-6 * max(1.0, theirs.abs().max().item()):
            rms = max(rms, gap.square().mean().sqrt().item() / spread)
    return error, rms


# --- forms --------------------------------------------------------------------------------------------------
def safer_forms(name: str, form: OptimizationConfig, device: str) -> Iterator[OptimizationConfig | None]:
    """A form and those to fall back to, the fastest first: half precision without channels_last, float32 as
    it is used otherwise, float32 by plain convolutions, and the network as built (None).
    """
    plain = dataclasses.replace(form, channels_last=False, winograd=(), compile=False)
    float32 = (default_optimization(name, device), dataclasses.replace(plain, dtype=torch.float32))
    chain = [form, plain, *(float32 if form.dtype != torch.float32 else float32[1:]), None]
    yield from dict.fromkeys(chain)


def digest(module: nn.Module) -> int:
    """A number that differs for other weights: keys, shapes and some values of each tensor."""
    sampled = []
    for key, value in module.state_dict().items():
        flat = value.detach().reshape(-1)
        sampled.append((key, tuple(value.shape), tuple(flat[:: max(1, len(flat) // 16)].tolist())))
    return hash(tuple(sampled))


def safest(
    name: str,
    make: Callable[[], nn.Module],
    form: OptimizationConfig,
    warn: Callable[[str], None] = logger.warning,
) -> tuple[nn.Module, Accuracy | None]:
    """A network in the first of its `safer_forms` that is right on its device.

    Each form is checked once a process for the same weights and device.

    Args:
        name: of the network, a key of `PROBES`.
        make: gives the network as built, with its weights, on its device; called again for each form that is
            wrong.
        form: the form that is wanted.
        warn: told of each form that is wrong, with network, device, figures and what is taken instead.

    Returns:
        The network, and the accuracy of the form it is in; None: as built.

    Raises:
        NumericsError: the network gives infinities or no numbers as built: its weights are damaged.
    """
    module = make()
    device = str(next(module.parameters()).device)
    weights, exact = digest(module), functools.cache(lambda: _exact(name, module, device))
    forms = list(safer_forms(name, form, device))
    fresh: nn.Module | None = module
    reference: list[Tensor] | None = None
    for candidate, following in zip(forms, [*forms[1:], None]):
        key = (name, weights, candidate, device)
        if candidate is None:
            return fresh or make(), None
        known = _found.get(key)
        if known is None or known.ok:
            fresh = fresh or make()
            if known is None:
                reference = reference or exact()
                known = _found[key] = accuracy(name, optimize(fresh, candidate), candidate, reference)
            else:
                optimize(fresh, candidate)
            if known.ok:
                return fresh, known
            fresh = None
        warn(f"{known}; wrong here, {describe(following)} is used instead")
    raise AssertionError("the last form is the exact one")


def _exact(name: str, module: nn.Module, device: str) -> list[Tensor]:
    """Outputs of the network as built.

    Raises:
        NumericsError: they are not finite.
    """
    outputs, _ = probe(name, module)
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        raise NumericsError(
            f"{name} on {device_name(device)} gives values that are not finite (inf or nan) as built, in float32: its weights are "
            "damaged, or its kernels are wrong here; retalk models verify --numerics says which networks are concerned"
        )
    return outputs


def accuracy(name: str, module: nn.Module, form: OptimizationConfig | None, exact: list[Tensor]) -> Accuracy:
    """Accuracy of a network in a form against what its exact form has given for the same input (`probe`)."""
    outputs, seconds = probe(name, module)
    device = device_name(next(module.parameters()).device)
    return Accuracy(name, form, device, *differences(outputs, exact), seconds)


# --- all forms of a network ---------------------------------------------------------------------------------
def forms_of(name: str, device: str) -> list[OptimizationConfig]:
    """Forms that a user can choose for a network on a device: the one that stages use, and half precision in
    both layouts.
    """
    halves = [torch.bfloat16] if torch.device(device).type == "cpu" else [torch.bfloat16, torch.float16]
    return [
        default_optimization(name, device),
        *(OptimizationConfig(channels_last=last, dtype=dtype) for dtype in halves for last in (True, False)),
    ]


def accuracies(name: str, make: Callable[[], nn.Module], device: str) -> Iterator[Accuracy]:
    """Accuracy of each of a network's `forms_of`.

    Args:
        name: of the network.
        make: gives it as built, with its weights, on the CPU.
        device: torch device string.

    Raises:
        NumericsError: it gives infinities or no numbers as built.
    """
    exact = _exact(name, make().to(device), device)
    for form in forms_of(name, device):
        yield accuracy(name, optimize(make().to(device), form), form, exact)


def made_up(module: nn.Module) -> nn.Module:
    """Fill a built network with random weights that keep its values in range, the same every time; constant
    buffers stay.
    """
    generator = torch.Generator().manual_seed(0)
    for key, value in module.state_dict().items():
        if not value.is_floating_point() or bool(value.any()):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight")):
            value.copy_(1 + 0.1 * noise.abs())
        elif key.endswith(("weight_u", "weight_v")):  # spectral norms: of the weight, which comes before them
            weight = module.get_parameter(f"{key[:-1]}orig").flatten(1)
            left = noise if key.endswith("weight_u") else weight.T @ module.get_buffer(f"{key[:-1]}u")
            value.copy_(left / left.norm())
        elif value.ndim > 1:
            modulated = value.ndim == 5 and len(value) == 1
            value.copy_(noise / math.prod(value.shape[2 if modulated else 1 :]) ** 0.5)
        else:
            value.copy_(0.1 * noise)
    return module
