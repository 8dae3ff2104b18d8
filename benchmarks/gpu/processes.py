"""N processes on one GPU, each with the whole chain, as actors with a fraction of a GPU have it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.chain import in_form, network, of_network
from benchmarks.gpu.device import Utilisation, memory_figures, products
from benchmarks.gpu.results import Piece, Results
from benchmarks.gpu.scene import batches, make_chain, scene
from benchmarks.gpu.settings import CPU, GPU, Form, Settings
from operators.retalk.double_buffer import DoubleBuffer
from operators.retalk.tensor_chain import NETWORKS
from retalk_models.build import build
from retalk_models.inference.device_memory import reset_peaks

#: Batches that are prepared; a worker goes through them again and again.
PREPARED = 4


def write_weights(folder: Path) -> None:
    """Weights of the chain's networks as files that processes map: their pages are in memory once."""
    for name in NETWORKS:
        torch.save(network(name).state_dict(), folder / f"{name}.pt")


def loaded(folder: Path, form: Form, device: torch.device) -> dict[str, nn.Module]:
    """The chain's networks from such files."""
    made = {}
    with torch.no_grad():
        for name in NETWORKS:
            module = build(name, **({"low_res": False} if name == "enet" else {}))
            module.load_state_dict(
                torch.load(folder / f"{name}.pt", mmap=True, weights_only=True), assign=True
            )
            made[name] = in_form(module.to(device), of_network(form, name))
    return made


def worker(path: str) -> None:
    """One process: load, warm up, say "ready", wait for a line, run, and print its figures as JSON."""
    spec = json.loads(Path(path).read_text())
    device = torch.device(spec["device"])
    settings = GPU if spec["full"] else CPU
    form, size, seconds = Form(**spec["form"]), spec["batch"], spec["seconds"]
    if device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // spec["processes"]))
    reset_peaks(device)
    with products(form.tf32, form.tuned):
        chain = make_chain(loaded(Path(spec["weights"]), form, device), settings, device)
        source = scene(settings, min(settings.frames, size * PREPARED))
        given = batches(source, size, max(1, len(source.frames) // size))
        buffer = DoubleBuffer(chain, device, graph=form.graph)
        if device.type == "cuda":
            for _ in buffer.run(given[:1] * buffer.SLOTS):
                pass
        print("ready", flush=True)
        sys.stdin.readline()
        frames, began = 0, time.monotonic()
        while True:
            for arrived in buffer.run(given):
                frames += len(arrived)
            if time.monotonic() - began >= seconds:
                break
    figures = {"frames": frames, "seconds": time.monotonic() - began, **memory_figures(device)}
    print(json.dumps(figures), flush=True)


def together(
    count: int, form: Form, batch: int, settings: Settings, device: torch.device, weights: Path
) -> dict[str, Any]:
    """Frames per second of so many processes at once.

    Raises:
        RuntimeError: one of them ended early; its last words are in the message.
    """
    reset_peaks(device)  # what other measurements of this process left in the cache is the workers' room
    spec = {
        "device": str(device),
        "full": settings is GPU,
        "form": vars(form),
        "batch": batch,
        "seconds": settings.process_seconds,
        "processes": count,
        "weights": str(weights),
    }
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (scratch / "spec.json").write_text(json.dumps(spec))
        command = [sys.executable, "-m", "benchmarks.gpu", "--worker", str(scratch / "spec.json")]
        errors, started = [], []
        for number in range(count):
            errors.append(stack.enter_context((scratch / f"{number}.txt").open("w+")))
            process = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors[-1],
                text=True,
            )
            stack.callback(_ended, process)
            started.append(process)
        for process, error in zip(started, errors):
            _line(process, error)
        with Utilisation(device) as utilisation:
            for process in started:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            found = [json.loads(_line(process, error)) for process, error in zip(started, errors)]
    total = sum(one["frames"] / one["seconds"] for one in found)
    figures: dict[str, Any] = {"frames_per_second": round(total, 3), "nvidia_smi_share": utilisation.share}
    if device.type == "cuda":
        figures["mib_of_a_process"] = round(max(one["reserved_mib"] for one in found), 1)
        figures["context_mib"] = round(max(one["context_mib"] for one in found) / count, 1)
    return {**figures, "form": form.name, "batch": batch, "each": found}


def _ended(process: subprocess.Popen[str]) -> None:
    """End a worker, whatever it does."""
    process.kill()
    with process:
        pass


def _line(process: subprocess.Popen[str], error: Any) -> str:
    """The next line of a worker."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        error.seek(0)
        last = (error.read().strip().splitlines() or ["no word"])[-1]
        raise RuntimeError(f"a worker ended early ({last})")
    return line


def fastest(results: Results, settings: Settings) -> tuple[Form, int]:
    """Form and batch of the fastest chain so far; of those measured, the first if none was."""
    measured = {
        (form, batch): figures["frames_per_second"]
        for form in settings.chain_forms
        for batch in settings.chain_batches
        if (figures := results.figures(f"chain/{form.name}/{batch}")) and "frames_per_second" in figures
    }
    default = (settings.chain_forms[0], settings.chain_batches[0])
    return max(measured, key=lambda key: measured[key]) if measured else default


def pieces(settings: Settings, device: torch.device, results: Results, folder: Path) -> list[Piece]:
    """Pieces of the part processes; the weights are written when the first is run."""

    def work(count: int) -> Callable[[], dict[str, Any]]:
        def call() -> dict[str, Any]:
            if not (folder / f"{NETWORKS[-1]}.pt").exists():
                folder.mkdir(parents=True, exist_ok=True)
                write_weights(folder)
            form, batch = fastest(results, settings)
            return together(count, form, batch, settings, device, folder)

        return call

    return [Piece(f"processes/{count}", work(count), most=180.0, least=40.0) for count in settings.processes]
