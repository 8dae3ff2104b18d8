"""Cost of each network: seconds an item, GMAC, error, for the forms of `retalk_models.inference.optimize`,
against the exact form in the same run.

    python -m benchmarks.networks [NAME ...] [--device cpu|cuda] [--batches 1,4] [--repeats 3] [--forms folded,bfloat16]
    python -m benchmarks.networks --rounding          errors of half precision, emulated: no GPU needed

Weights are made up (the recipe of tests/weight_recipe.py): they amplify rounding more than trained ones. The forms
are run in turns and the best of the repeats counts. On the CPU that is CPU seconds of one thread: on a
machine with other work they are fairer than wall seconds. On a GPU it is wall seconds between
synchronisations, with peak memory, and the largest batch found by doubling (--max-batch).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from operators.retalk.enet_stage import MOUTH, TOP
from retalk_models import build
from retalk_models.inference.optimize import OptimizationConfig, default_optimization, optimize
from tests.retalk_models.recipe import subject_of


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
        own = module.state_dict()
        weights = {key: value for key, value in subject_of(self.network).weights.items() if key in own}
        module.load_state_dict(weights, strict=True, assign=True)
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
        "gfpgan", (picture(3, 512, 512, low=-1),), arguments={"return_rgb": False, "window": MOUTH}
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
#: Measured unless others are named.
DEFAULT = {
    "cpu": ("folded", "folded, channels last", "folded, channels last, winograd", "bfloat16"),
    "cuda": tuple(name for name, form in FORMS.items() if not form.winograd),
}


def config_named(name: str, network: str) -> OptimizationConfig:
    """One of `FORMS` for a network: Winograd's products where the stages use them."""
    form = FORMS[name]
    return (
        dataclasses.replace(form, winograd=default_optimization(network, "cpu").winograd)
        if form.winograd
        else form
    )


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


def gmac(case: Case, form: OptimizationConfig | None = None) -> float:
    """Multiply-accumulates of one item in thousand millions: convolutions and matrix products. Transforms and
    norms do not count.
    """
    module = build(case.network, **case.build)
    module = (module if form is None else optimize(module, form)).to("meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        case.call(module, [make(1).to("meta") for make in case.inputs])
    return counter.get_total_flops() / 2e9


@contextlib.contextmanager
def tensor_cores_in_float32(allowed: bool) -> Iterator[None]:
    """TF32 products on or off: torch lets convolutions use them by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def clock(device: str) -> float:
    """CPU seconds of this process, or, on a GPU, wall seconds until its work is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def errors(ours: list[Tensor], exact: list[Tensor]) -> tuple[float, float]:
    """Largest and mean difference over all outputs, each relative to its largest value where that exceeds 1."""
    pairs = [
        ((a.float().cpu() - b.float().cpu()).abs(), max(1.0, float(b.abs().max())))
        for a, b in zip(ours, exact, strict=True)
    ]
    return max(float(gap.max()) / scale for gap, scale in pairs), max(
        float(gap.mean()) / scale for gap, scale in pairs
    )


@dataclasses.dataclass
class Measured:
    """One form of one case."""

    form: str
    module: nn.Module
    seconds: float = float("inf")
    memory: float = 0.0
    outputs: list[Tensor] = dataclasses.field(default_factory=list)


def measure(case: Case, forms: list[str], batch: int, repeats: int, device: str) -> list[Measured]:
    """Run the exact form and others in turns on the same inputs; the exact one comes first in the result."""
    torch.manual_seed(0)
    tensors = [make(batch).to(device) for make in case.inputs]
    entries = [Measured("exact", case.exact().to(device))]
    entries += [
        Measured(name, optimize(case.exact().to(device), config_named(name, case.network))) for name in forms
    ]
    with torch.inference_mode():
        for repeat in range(repeats + 1):  # the first warms up: it compiles, packs weights, takes memory
            for entry in entries:
                with tensor_cores_in_float32(entry.form == "tf32"):
                    if device != "cpu":
                        torch.cuda.reset_peak_memory_stats()
                    start = clock(device)
                    entry.outputs = case.call(entry.module, tensors)
                    seconds = (clock(device) - start) / batch
                if repeat or not repeats:
                    entry.seconds = min(entry.seconds, seconds)
                if device != "cpu":
                    entry.memory = torch.cuda.max_memory_allocated() / 2**30
    return entries


def max_batch(case: Case, form: str, device: str, limit: int = 1024) -> int:
    """The largest power of two that fits into the GPU's memory."""
    module, batch = optimize(case.exact().to(device), config_named(form, case.network)), 1
    with torch.inference_mode():
        while batch <= limit:
            try:
                case.call(module, [make(batch).to(device) for make in case.inputs])
            except torch.cuda.OutOfMemoryError:
                break
            batch *= 2
    torch.cuda.empty_cache()
    return batch // 2


@contextlib.contextmanager
def rounded(dtype: torch.dtype) -> Iterator[None]:
    """Operands and results of convolutions and linear layers rounded to ``dtype``, sums in float32, as tensor
    cores do it.
    """
    names = ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear")
    plain = {name: getattr(F, name) for name in names}

    def through(value: Any) -> Any:
        return value.to(dtype).float() if isinstance(value, Tensor) else value

    def wrap(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *args, **kwargs: through(
            function(*map(through, args), **{key: through(v) for key, v in kwargs.items()})
        )

    for name, function in plain.items():
        setattr(F, name, wrap(function))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(F, name, function)


def rounding_errors(case: Case) -> list[tuple[float, float]]:
    """Errors of float16 and of bfloat16 by `rounded`."""
    torch.manual_seed(0)
    tensors, module = [make(1) for make in case.inputs], case.exact()
    results = []
    with torch.inference_mode():
        exact = case.call(module, tensors)
        for dtype in (torch.float16, torch.bfloat16):
            with rounded(dtype):
                results.append(errors(case.call(module, tensors), exact))
    return results


def machine(device: str) -> str:
    """Return the device's name, for the table's caption."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = f", load average {os.getloadavg()[0]:.0f}"
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, 1 thread{load}"


def cost_table(
    cases: dict[str, Case], forms: list[str], batches: list[int], repeats: int, device: str, find_max: bool
) -> None:
    """Print the main table."""
    unit = "CPU s an item" if device == "cpu" else "s an item"
    memory = "" if device == "cpu" else " GiB | max batch |"
    print(
        f"| network | GMAC exact, folded | batch | form | {unit} | times faster | max error | mean error |{memory}"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |" + " --- | --- |" * (device != "cpu"))
    for label, case in cases.items():
        counts = f"{gmac(case):.1f}, {gmac(case, OptimizationConfig()):.1f}"
        chosen = next(
            (
                name
                for name in forms
                if config_named(name, case.network) == default_optimization(case.network, device)
            ),
            "",
        )
        for batch in batches:
            exact, *others = measure(case, forms, batch, repeats, device)
            for entry in (exact, *others):
                gap = errors(entry.outputs, exact.outputs)
                mark = " *" if entry.form == chosen else ""
                row = f"| {label} | {counts} | {batch} | {entry.form}{mark} | {entry.seconds:.4f} | {exact.seconds / entry.seconds:.2f} |"
                row += f" {gap[0]:.1e} | {gap[1]:.1e} |"
                if device != "cpu":
                    fits = max_batch(case, entry.form, device) if find_max and entry.form in FORMS else "-"
                    row += f" {entry.memory:.2f} | {fits} |"
                print(row, flush=True)


def rounding_table(cases: dict[str, Case]) -> None:
    """Print errors of emulated half precision."""
    print("| network | float16 max, mean | bfloat16 max, mean |\n| --- | --- | --- |")
    for label, case in cases.items():
        cells = " | ".join(f"{worst:.1e}, {mean:.1e}" for worst, mean in rounding_errors(case))
        print(f"| {label} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names",
        nargs="*",
        help=f"networks; default all: {', '.join(sorted({c.network for c in CASES.values()}))}",
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--batches", default="", help="comma-separated; default 1,4 on the CPU and 1,16 on a GPU"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--forms", default="", help=f"separated by ';': {'; '.join(FORMS)}")
    parser.add_argument("--max-batch", action="store_true", help="find the largest batch of each form (GPU)")
    parser.add_argument(
        "--rounding", action="store_true", help="errors of emulated half precision instead of cost"
    )
    args = parser.parse_args()
    cases = {label: case for label, case in CASES.items() if not args.names or case.network in args.names}
    if not cases:
        parser.error(f"no such network: {args.names}")
    if args.device == "cpu":
        torch.set_num_threads(1)
    print(f"{datetime.date.today()}, {machine(args.device)}, torch {torch.__version__}\n")
    if args.rounding:
        rounding_table(cases)
        return
    forms = args.forms.split(";") if args.forms else list(DEFAULT[args.device])
    batches = [int(b) for b in (args.batches or ("1,4" if args.device == "cpu" else "1,16")).split(",")]
    cost_table(cases, [name.strip() for name in forms], batches, args.repeats, args.device, args.max_batch)


if __name__ == "__main__":
    main()
