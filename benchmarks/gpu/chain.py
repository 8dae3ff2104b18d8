"""The whole chain on frames in memory: its error in lower precision, frames per second with upload and download
beside the computing, and the plain loop.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.device import Marks, Utilisation, memory_figures, products, synchronise
from benchmarks.gpu.loop import NEEDED, Loop
from benchmarks.gpu.networks import in_form
from benchmarks.gpu.results import Piece
from benchmarks.gpu.scene import HELD, batches, make_chain, mouths, psnr, scene
from benchmarks.gpu.settings import Form, Settings
from benchmarks.network_cases import made_up
from operators.retalk.double_buffer import DoubleBuffer
from operators.retalk.tensor_chain import NETWORKS, STEPS
from retalk_models.build import build
from retalk_models.inference.device_memory import reset_peaks
from retalk_models.inference.optimize import default_optimization

#: Networks that the default chain leaves out of the original's loop.
OTHERS = ("landmarks", "coefficients", "enhance", "box", "points")


def network(name: str) -> nn.Module:
    """A network as built, with recipe weights, on the CPU."""
    module = build(name, **({"low_res": False} if name == "enet" else {}))
    module.load_state_dict(made_up(name), strict=True, assign=True)
    return module


def networks(form: Form, device: torch.device) -> dict[str, nn.Module]:
    """The chain's networks in a form; those that gain nothing from the channel innermost go without."""
    with torch.no_grad():
        return {name: in_form(network(name).to(device), of_network(form, name)) for name in NETWORKS}


def of_network(form: Form, name: str) -> Form:
    """A form as the stages use it for a network."""
    last = form.channels_last and default_optimization(name, "cuda").channels_last
    return dataclasses.replace(form, channels_last=last)


class Chains:
    """The chain in its forms; networks of one form are kept at a time.

    Args:
        settings: sizes.
        device: torch device.
    """

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.source = scene(settings, min(HELD, settings.frames))
        self._kept: tuple[Any, dict[str, nn.Module]] | None = None
        self._exact: Tensor | None = None
        self._few = batches(self.source, settings.few, 1)[0]

    def networks(self, form: Form) -> dict[str, nn.Module]:
        """Networks in a form on the device."""
        key = form.config()
        if self._kept is None or self._kept[0] != key:
            self._kept = None
            reset_peaks(self.device)
            self._kept = key, networks(form, self.device)
        return self._kept[1]

    def drawn(self, form: Form, device: torch.device) -> Tensor:
        """Mouths of a few frames in a form."""
        made = self.networks(form) if device == self.device else networks(form, device)
        chain = make_chain(made, self.settings, device)
        with products(form.tf32, form.tuned):
            frames = chain(self._few.mapped(lambda x: x.to(device, copy=True)))
            return mouths(frames, self._few, self.settings)

    def exact(self) -> Tensor:
        """Mouths in float32, networks as built, on the CPU."""
        if self._exact is None:
            self._exact = self.drawn(Form(exact=True), torch.device("cpu"))
        return self._exact

    def error(self, form: Form) -> dict[str, Any]:
        """PSNR and largest difference of the final mouths against the CPU's exact form."""
        ours, exact = self.drawn(form, self.device), self.exact()
        gap = (ours - exact).abs()
        return {
            "psnr_db": round(psnr(ours, exact), 2),
            "mean_levels": float(gap.mean()),
            "max_levels": float(gap.max()),
            "frames": len(ours),
            "drawn": float((exact - mouths(self._few.frames, self._few, self.settings)).abs().mean()),
        }

    def speed(self, form: Form, batch: int) -> dict[str, Any]:
        """Frames per second through the chain, and where the time goes."""
        if form.graph and self.device.type != "cuda":
            return {"skipped": "CUDA graphs need a GPU"}
        settings, device = self.settings, self.device
        chain = make_chain(self.networks(form), settings, device)
        reset_peaks(device)
        count = max(1, settings.frames // batch)
        with products(form.tf32, form.tuned):
            warm = batches(self.source, batch, 1)[0].mapped(lambda x: x.to(device, copy=True))
            if device.type == "cuda":
                chain(warm)
            marks = Marks(device)
            began = time.perf_counter()
            chain(warm, marks)
            issued = time.perf_counter() - began
            steps = {step: seconds / batch for step, seconds in marks.seconds().items()}
            buffer = DoubleBuffer(chain, device, graph=form.graph)
            if device.type == "cuda":
                for _ in buffer.run(batches(self.source, batch, buffer.SLOTS)):
                    pass
                buffer.busy.clear()
            given = batches(self.source, batch, count)
            with Utilisation(device) as utilisation:
                synchronise(device)
                began, frames = time.perf_counter(), 0
                for arrived in buffer.run(given):
                    frames += len(arrived)
                wall = time.perf_counter() - began
            of_kernels = kernels(chain, warm) if device.type == "cuda" else None
        busy = round(buffer.busy_seconds() / wall, 4) if device.type == "cuda" else None
        return {
            "frames_per_second": round(frames / wall, 3),
            "frames": frames,
            "wall_seconds": round(wall, 4),
            "busy_share": busy,
            "nvidia_smi_share": utilisation.share,
            "issue_seconds_of_a_batch": issued,
            "kernel_seconds_of_a_batch": of_kernels,
            "step_seconds_of_a_frame": {step: steps[step] for step in STEPS},
            **memory_figures(device),
        }

    def loop(self) -> dict[str, Any]:
        """Seconds of the plain loop."""
        settings, device = self.settings, self.device
        self._kept = None
        reset_peaks(device)
        names = sorted({name for step in settings.loop for name in NEEDED[step]})
        with products(True):  # torch's default is TF32 in convolutions, not in matrix products
            torch.backends.cuda.matmul.allow_tf32 = False
            loop = Loop({name: network(name).to(device) for name in names}, settings, device)
            if device.type == "cuda":
                loop.run(1, settings.loop)
            spent = loop.run(settings.loop_frames, settings.loop)
        total = sum(spent.values())
        chain = sum(seconds for step, seconds in spent.items() if step not in OTHERS)
        frames = settings.loop_frames
        return {
            "frames_per_second": round(frames / total, 4),
            "frames": frames,
            "step_seconds_of_a_frame": {step: seconds / frames for step, seconds in spent.items()},
            "frames_per_second_without_detectors_and_enhancer": round(frames / chain, 4),
            **memory_figures(device),
        }


def kernels(chain: Any, batch: Any) -> float | None:
    """Seconds of the kernels of a batch, without the gaps between them; None where they cannot be traced."""
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as traced:
            chain(batch)
            torch.cuda.synchronize()
        total = sum(event.self_device_time_total for event in traced.key_averages())
    except RuntimeError:
        return None
    return float(total) / 1e6 or None


def pieces(settings: Settings, device: torch.device) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """Pieces of the parts parity, precision and chain."""
    chains = Chains(settings, device)
    parity = [Piece("parity/chain", lambda: chains.error(Form(exact=device.type == "cuda")))]
    precision = [
        Piece(f"precision/chain/{name}", lambda name=name: chains.error(Form(name)))  # type: ignore[misc]
        for name in settings.precisions
    ]
    speed = [Piece("chain/loop", chains.loop, most=180.0)]
    for form in settings.chain_forms:
        for batch in settings.chain_batches[:1] if form.compiled else settings.chain_batches:
            speed.append(
                Piece(
                    f"chain/{form.name}/{batch}",
                    lambda form=form, batch=batch: chains.speed(form, batch),  # type: ignore[misc]
                    most=240.0 if form.compiled else 120.0,
                )
            )
    return parity, precision, speed
