"""The neural engine on a GPU in ten minutes: exactness, error of lower precision, speed, memory, the whole chain
against the plain loop, several processes, and the profile that follows.

    python -m benchmarks.gpu [--minutes 9] [--output FOLDER] [--resume] [--device cuda|cpu]

Imports torch and numpy only; needs no model files (weights are made up by the recipe of tests/weight_recipe.py), no
video and no network. Pieces of work are done in the order of their value, and each writes its figures into
FOLDER/results.json when it is finished; what has no time left is done by the same command with --resume. FOLDER/report.md
and FOLDER/profile.yaml are written again after each part.

Parts: parity (float32 on the device against the CPU's exact form), precision (errors of tf32, bfloat16 and float16, of
networks and as PSNR of the final mouth), chain (1080p frames in memory through D-Net, L-Net, E-Net, restoration,
parsing and blending, and the plain loop of the original's order), processes (on one GPU), speed (networks over batch
sizes and forms). With --device cpu sizes are small: that shows that the command works, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu import chain, networks, processes, report
from benchmarks.gpu.device import describe
from benchmarks.gpu.results import FAILED, DeviceLostError, Piece, Results
from benchmarks.gpu.settings import CPU, GPU

PARTS = ("parity", "precision", "chain", "processes", "speed")


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0: all pieces have figures; 3: some are left (go on with --resume) or failed; 2: wrong usage; 130: interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="time for this command (9)")
    parser.add_argument(
        "--output", default="gpu-results", metavar="FOLDER", help="of the results (gpu-results)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the results in FOLDER")
    parser.add_argument("--retry", action="store_true", help="with --resume: do again what failed")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1, cpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        processes.worker(options.worker)
        return 0
    deadline = time.monotonic() + options.minutes * 60 - 5
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "benchmarks.gpu: torch sees no GPU here; --device cpu shows that the command works",
            file=sys.stderr,
        )
        return 2
    settings = GPU if device.type == "cuda" else CPU
    folder = Path(options.output)
    try:
        results = Results(
            folder, {**describe(device), "frames": list(settings.size)}, options.resume, options.retry
        )
    except ValueError as problem:
        print(f"benchmarks.gpu: {problem}", file=sys.stderr)
        return 2

    def say(text: str) -> None:
        print(text, flush=True)

    say(", ".join(f"{name} {value}" for name, value in results.about.items()))
    single, whole = networks.pieces(settings, device), chain.pieces(settings, device)
    parts: dict[str, list[Piece]] = {
        "parity": [*single[0], *whole[0]],
        "precision": [*whole[1], *single[1]],
        "chain": whole[2],
        "processes": processes.pieces(settings, device, results, folder / "weights"),
        "speed": single[2],
    }
    left: list[str] = []
    further = f"go on with: python -m benchmarks.gpu --resume --output {folder} --device {options.device}"
    try:
        for part in (part for part in PARTS if part in options.only):
            try:
                left += results.run(parts[part], deadline, say, lambda: works(device))
            except DeviceLostError:
                again(options, deadline)
            report.write(folder, results, settings)
    except KeyboardInterrupt:
        report.write(folder, results, settings)
        say(f"interrupted; {further}")
        return 130
    finally:
        shutil.rmtree(folder / "weights", ignore_errors=True)  # a gigabyte that only the processes needed
    failed = [name for name, piece in results.pieces.items() if piece["state"] == FAILED]
    say(report.text(results, settings))
    say(f"{folder}: {len(results.pieces)} pieces measured, {len(failed)} of them failed, {len(left)} left")
    if left:
        say(further)
    return 3 if left or failed else 0


def works(device: torch.device) -> bool:
    """True while the device still answers: after some errors a process cannot use a GPU any more."""
    try:
        return torch.ones(1, device=device).item() == 1
    except RuntimeError:
        return False


def again(options: argparse.Namespace, deadline: float) -> None:
    """Go on in a new process."""
    minutes = max(0.1, (deadline - time.monotonic() + 5) / 60)
    command = [sys.executable, "-m", "benchmarks.gpu", "--resume", "--minutes", f"{minutes:.2f}"]
    command += ["--output", options.output, "--device", options.device, "--only", *options.only]
    print("benchmarks.gpu: the device is lost for this process; another one goes on", flush=True)
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(main())
