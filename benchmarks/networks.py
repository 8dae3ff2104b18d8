"""Cost of each network: seconds an item, GMAC, error, for the forms of `retalk_models.inference.optimize`,
against the exact form in the same run.

    python -m benchmarks.networks [NAME ...] [--device cpu|cuda] [--batches 1,4] [--repeats 3] [--forms folded,bfloat16]
    python -m benchmarks.networks --rounding          errors of half precision, emulated: no GPU needed
    python -m benchmarks.networks --precision         oneDNN's settings for float32 on this processor

Weights are made up (tests/weight_recipe.py): they amplify rounding more than trained ones. The forms
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

from benchmarks.network_cases import CASES, FORMS, Case, errors, tensor_cores_in_float32
from retalk_models import build
from retalk_models.inference.optimize import OptimizationConfig, default_optimization, optimize

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


def gmac(case: Case, form: OptimizationConfig | None = None) -> float:
    """Multiply-accumulates of one item in thousand millions: convolutions and matrix products. Transforms and
    norms do not count.
    """
    module = build(case.network, **case.build)
    module = (module if form is None else optimize(module, form)).to("meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        case.call(module, [make(1).to("meta") for make in case.inputs])
    return counter.get_total_flops() / 2e9


def clock(device: str) -> float:
    """CPU seconds of this process, or, on a GPU, wall seconds until its work is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


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


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Let oneDNN compute float32 convolutions and matrix products as "ieee", "tf32" or "bf16"."""
    backends = torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = precision
    try:
        yield
    finally:
        for backend, value in zip(backends, before):
            backend.fp32_precision = value


def precision_table(cases: dict[str, Case], repeats: int) -> None:
    """Print what oneDNN's settings for float32 products save, and their errors against the exact form.

    Differences of pictures are in grey levels, over all outputs of the case.
    """
    settings = ("ieee", "tf32", "bf16")
    print(
        "| network | usual form, CPU s | tf32, times | bf16, times | grey levels of tf32 (max, mean) | of bf16 |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for label, case in cases.items():
        torch.manual_seed(0)
        tensors = [make(1) for make in case.inputs]
        least, gaps = dict.fromkeys(settings, float("inf")), dict[str, str]()
        with torch.inference_mode():
            exact = case.call(case.exact(), tensors)
            usual = optimize(case.exact(), default_optimization(case.network, "cpu"))
            for repeat in range(repeats + 1):
                for precision in settings:
                    with float32_products(precision):
                        start = clock("cpu")
                        outputs = case.call(usual, tensors)
                        seconds = clock("cpu") - start
                    if repeat:
                        least[precision] = min(least[precision], seconds)
                    worst, mean = errors(outputs, exact)
                    gaps[precision] = f"{worst * 255:.2f}, {mean * 255:.3f}"
        times = " | ".join(f"{least['ieee'] / least[precision]:.2f}" for precision in settings[1:])
        print(f"| {label} | {least['ieee']:.2f} | {times} | {gaps['tf32']} | {gaps['bf16']} |", flush=True)


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
    parser.add_argument(
        "--precision", action="store_true", help="oneDNN's settings for float32 products on this processor"
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
    if args.precision:
        precision_table(cases, args.repeats)
        return
    forms = args.forms.split(";") if args.forms else list(DEFAULT[args.device])
    batches = [int(b) for b in (args.batches or ("1,4" if args.device == "cpu" else "1,16")).split(",")]
    cost_table(cases, [name.strip() for name in forms], batches, args.repeats, args.device, args.max_batch)


if __name__ == "__main__":
    main()
