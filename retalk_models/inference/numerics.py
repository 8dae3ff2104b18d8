"""Check a network's form against its exact form on the device it runs on, and take the next safer form where
it is wrong.

Kernels differ from processor to processor: a form that is right on one can give infinities on another. The
check runs a small made-up input through the network before and after it is optimised. float32 by the original's
algorithms needs none; of others the figures are kept (`retalk_models.inference.verdicts`), so that one worker of
a machine pays for them (docs/benchmarks.md#the-numerics-check).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from retalk_models.inference.optimize import OptimizationConfig, default_optimization, optimize
from retalk_models.inference.probes import probe
from retalk_models.inference.verdicts import Verdicts, device_identity, source_digest, weights_digest

logger = logging.getLogger(__name__)

#: Largest difference from the exact form that is expected of float32, relative to the largest exact value
#: where that exceeds 1, and the same for the differences' root mean square, relative to the standard
#: deviation of the exact values. Made-up weights reach a fifth of it
#: (`tests/retalk_models/inference/test_optimize.py`), trained ones less. Above it the user is warned.
EXPECTED = 0.05
#: The same, above which a form is wrong.
FLOAT32_BOUND, HALF_BOUND = 0.2, 0.5
#: Accuracy of forms that was measured or looked up in this process.
_found: dict[str, Accuracy] = {}


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
    def half(self) -> bool:
        """The form computes in half precision."""
        return self.form is not None and self.form.dtype != torch.float32

    @property
    def ok(self) -> bool:
        """The form may be used: the differences are rounding, if perhaps more than usual."""
        return max(self.error, self.rms) <= (HALF_BOUND if self.half else FLOAT32_BOUND)

    @property
    def expected(self) -> bool:
        """The differences are no larger than those of trained or made-up weights on any known processor."""
        return max(self.error, self.rms) <= (HALF_BOUND if self.half else EXPECTED)

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
    usual = default_optimization(name, device)
    float32 = tuple(dataclasses.replace(x, dtype=torch.float32) for x in (usual, plain))
    chain = [form, plain, *(float32 if form.dtype != torch.float32 else float32[1:]), None]
    yield from dict.fromkeys(chain)


def needs_check(form: OptimizationConfig) -> bool:
    """False for float32 by the original's algorithms: folding and layouts only move its rounding."""
    return form.dtype != torch.float32 or bool(form.winograd) or form.compile


def safest(
    name: str,
    make: Callable[[], nn.Module],
    form: OptimizationConfig,
    warn: Callable[[str], None] = logger.warning,
    files: str = "",
) -> tuple[nn.Module, Accuracy | None]:
    """A network in the first of its `safer_forms` that is right on its device.

    Each form is checked once a machine for the same weights and device, and not at all if it does not need it
    (`needs_check`).

    Args:
        name: of the network, a key of `PROBES`.
        make: gives the network as built, with its weights, on its device; called again for each form that is
            wrong.
        form: the form that is wanted.
        warn: told of each form that is wrong, with network, device, figures and what is taken instead, and of
            a form whose error is larger than expected.
        files: where the weights come from, for errors.

    Returns:
        The network, and the accuracy of the form it is in; None: as built, or not checked.

    Raises:
        NumericsError: the network gives infinities or no numbers as built: its weights are damaged.
    """
    module = make()
    if not needs_check(form):
        return optimize(module, form), None
    check = _Check(name, module, files)
    forms = list(safer_forms(name, form, check.device))
    fresh: nn.Module | None = module
    for candidate, following in zip(forms, [*forms[1:], None]):
        fresh = fresh or make()
        if candidate is None:
            return fresh, None
        known = check.known(candidate)
        if known is None or known.ok:
            if known is None:
                known = check.measured(fresh, candidate)
            else:
                optimize(fresh, candidate)
            if known.ok:
                if not known.expected:
                    warn(f"{known}; more than expected of float32, used all the same")
                return fresh, known
            fresh = None
        warn(f"{known}; wrong here, {describe(following)} is used instead")
    raise AssertionError("the last form is the exact one")


class _Check:
    """The check of one network's forms on its device.

    Args:
        name: of the network.
        module: as built.
        files: as in `safest`.
    """

    def __init__(self, name: str, module: nn.Module, files: str = "") -> None:
        self.name, self.files = name, files
        self.device = str(next(module.parameters()).device)
        self.verdicts = Verdicts()
        self._identity = {
            **{"network": name, "weights": weights_digest(module)},
            **device_identity(self.device),
            **{"torch": torch.__version__, "source": source_digest()},
        }
        self._exact: list[Tensor] | None = None

    def identity(self, form: OptimizationConfig) -> dict[str, Any]:
        """Return the key that figures of a form are kept under."""
        return {**self._identity, "form": repr(form)}

    def known(self, form: OptimizationConfig) -> Accuracy | None:
        """Accuracy of a form, as this process or another one on this machine has found it."""
        identity = self.identity(form)
        key = repr(identity)
        if key not in _found and (kept := self.verdicts.load(identity)) is not None:
            with contextlib.suppress(KeyError):
                figures = kept["error"], kept["rms"], kept["seconds"]
                _found[key] = Accuracy(self.name, form, device_name(self.device), *figures)
        return _found.get(key)

    def exact(self, module: nn.Module) -> list[Tensor]:
        """Outputs of the network as built."""
        if self._exact is None:
            self._exact = _exact(self.name, module, self.device, self.files)
        return self._exact

    def measured(self, fresh: nn.Module, form: OptimizationConfig) -> Accuracy:
        """Accuracy of a form: turns a network as built into it. Another worker that is measuring it is waited
        for.
        """
        with self.verdicts.alone(self.name):
            known = self.known(form)
            if known is not None:
                optimize(fresh, form)
                return known
            exact = self.exact(fresh)
            return self.keep(accuracy(self.name, optimize(fresh, form), form, exact))

    def keep(self, found: Accuracy) -> Accuracy:
        """Remember the accuracy of a form, here and for other workers."""
        assert found.form is not None
        identity = self.identity(found.form)
        self.verdicts.save(
            identity, {"error": found.error, "rms": found.rms, "seconds": round(found.seconds, 4)}
        )
        _found[repr(identity)] = found
        return found


def _exact(name: str, module: nn.Module, device: str, files: str = "") -> list[Tensor]:
    """Outputs of the network as built.

    Raises:
        NumericsError: they are not finite.
    """
    outputs, _ = probe(name, module)
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        raise NumericsError(
            f"{name} on {device_name(device)} gives values that are not finite (inf or nan) as built, in float32: its weights "
            f"{f'({files}) ' if files else ''}are damaged, or its kernels are wrong here. Fetch the file again (retalk models pull); "
            "retalk models verify --numerics says which networks are concerned"
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


def accuracies(name: str, make: Callable[[], nn.Module], device: str, files: str = "") -> Iterator[Accuracy]:
    """Accuracy of each of a network's `forms_of`, measured anew.

    Args:
        name: of the network.
        make: gives it as built, with its weights, on the CPU.
        device: torch device string.
        files: where its weights come from, for errors.

    Raises:
        NumericsError: it gives infinities or no numbers as built.
    """
    module = make().to(device)
    check = _Check(name, module, files)
    exact = check.exact(module)
    for form in forms_of(name, device):
        yield check.keep(accuracy(name, optimize(make().to(device), form), form, exact))


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
