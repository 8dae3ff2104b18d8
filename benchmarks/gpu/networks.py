"""Single networks: against the CPU's exact form, error of lower precision, items per second and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.device import memory_figures, products, seconds_of, synchronise
from benchmarks.gpu.results import Piece
from benchmarks.gpu.settings import Form, Settings
from benchmarks.network_cases import Case, errors
from retalk_models.inference.device_memory import reset_peaks
from retalk_models.inference.optimize import optimize

#: Largest difference from the CPU's exact form, relative to the largest value where that exceeds 1, in float32: the
#: bound of the parity tests (`tests.parity.NETWORK_TOLERANCE`).
BOUND = 5e-4


def inputs(case: Case, batch: int) -> list[Tensor]:
    """The case's made-up inputs on the CPU, the same every time."""
    torch.manual_seed(0)
    return [make(batch) for make in case.inputs]


def in_form(module: nn.Module, form: Form) -> nn.Module:
    """A network as built, turned into a form."""
    config = form.config()
    return module if config is None else optimize(module, config)


def ran(case: Case, device: torch.device, form: Form, batch: int = 1) -> list[Tensor]:
    """Outputs of a case in a form, on the CPU."""
    with torch.inference_mode(), products(form.tf32):
        module = in_form(case.exact().to(device), form)
        return [x.float().cpu() for x in case.call(module, [x.to(device) for x in inputs(case, batch)])]


class Exact:
    """Outputs of the exact form on the CPU, kept: two parts need them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._kept: dict[str, list[Tensor]] = {}

    def __call__(self, label: str) -> list[Tensor]:
        """Outputs of a case."""
        if label not in self._kept:
            self._kept[label] = ran(self.settings.cases[label], torch.device("cpu"), Form(exact=True))
        return self._kept[label]


def parity(case: Case, exact: list[Tensor], device: torch.device) -> dict[str, Any]:
    """Errors in float32 on the device, as built and folded with channels last, from the CPU's exact form."""
    found: dict[str, Any] = {}
    for name, form in (("exact", Form(exact=True)), ("folded", Form())):
        worst, mean = errors(ran(case, device, form), exact)
        found[name] = {"max": worst, "mean": mean}
    return {**found, "bound": BOUND, "within": found["exact"]["max"] <= BOUND}


def precision(case: Case, exact: list[Tensor], form: Form, device: torch.device) -> dict[str, Any]:
    """Errors of lower precision from the CPU's exact form: largest, mean and, of outputs that are chosen by their
    largest channel, the share of choices that stay.
    """
    ours = ran(case, device, form)
    worst, mean = errors(ours, exact)
    found = {"max": worst, "mean": mean}
    if case.network == "parsenet":
        found["labels"] = float((ours[0].argmax(1) == exact[0].argmax(1)).float().mean())
    return found


def captured(call: Callable[[], Any]) -> Callable[[], Any]:
    """A call as a CUDA graph, which is replayed on the same tensors."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def speed(
    case: Case, form: Form, batches: tuple[int, ...], device: torch.device, seconds: float
) -> dict[str, Any]:
    """Items per second, seconds to issue a call, and memory, for each batch size."""
    if form.graph and device.type != "cuda":
        return {"skipped": "CUDA graphs need a GPU"}
    with torch.inference_mode(), products(form.tf32, form.tuned):
        reset_peaks(device)
        module = in_form(case.exact().to(device), form)
        return {str(batch): of_batch(case, module, form, batch, device, seconds) for batch in batches}


def of_batch(
    case: Case, module: nn.Module, form: Form, batch: int, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Figures of one batch size; of one that does not fit, the reason."""
    reset_peaks(device)
    tensors = [x.to(device) for x in inputs(case, batch)]

    def call() -> Any:
        return case.call(module, tensors)

    try:
        began = time.perf_counter()
        call()
        synchronise(device)
        first = time.perf_counter() - began
        run = captured(call) if form.graph else call
        run()
        synchronise(device)
        began = time.perf_counter()
        run()
        issued = time.perf_counter() - began
        synchronise(device)
        one, count = seconds_of(run, device, seconds)
    except torch.OutOfMemoryError as problem:
        return {"skipped": str(problem).splitlines()[0]}
    return {
        "items_per_second": round(batch / one, 3),
        "seconds": one,
        "calls": count,
        "first_seconds": round(first, 3),
        "issue_seconds": issued,
        **memory_figures(device),
    }


def pieces(settings: Settings, device: torch.device) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """Pieces of the parts parity, precision and speed; of speed the compiled forms come last."""
    exact = Exact(settings)

    def each(part: str) -> Iterator[Piece]:
        for label, case in settings.cases.items():
            if part == "parity":
                yield Piece(
                    f"parity/{label}", lambda case=case, label=label: parity(case, exact(label), device)
                )
                continue
            for name in settings.precisions:
                form = Form(name)
                yield Piece(
                    f"precision/{label}/{form.precision}",
                    lambda case=case, label=label, form=form: precision(case, exact(label), form, device),
                )

    quick, slow = [], []
    for label, case in settings.cases.items():
        forms = settings.forms if label in settings.chain else settings.forms[: settings.others]
        for form in forms:
            batches = settings.batches[2:3] if form.compiled else settings.batches
            piece = Piece(
                f"speed/{label}/{form.name}",
                lambda case=case, form=form, batches=batches: speed(  # type: ignore[misc]
                    case, form, batches, device, settings.seconds
                ),
                most=150.0 if form.compiled else 60.0,
            )
            (slow if form.compiled else quick).append(piece)
    return list(each("parity")), list(each("precision")), [*quick, *slow]
