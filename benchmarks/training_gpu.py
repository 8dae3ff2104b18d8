"""Time and memory of training steps: each network at its real size, on made-up data, in float32 and bfloat16.

    python -m benchmarks.training_gpu -o training.json --minutes 8

Imports torch, numpy and `retalk_models` only. Cases are measured smallest first; where the time is up the rest are left out
and listed. A batch that does not fit ends its network's row. `--device cpu --small` shows that it works.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from retalk_models.training.arcface import ArcFace
from retalk_models.training.features import VGG19, random_features
from retalk_models.training.initial import initial
from retalk_models.training.settings import LOSSES
from retalk_models.training.steps import Networks, networks_for, training_step
from retalk_models.training.sync_expert import SyncExpert

#: Items of a batch; of L-Net and E-Net an item is five frames.
BATCHES = {"sync": (64, 256, 1024), "dnet": (4, 8, 16, 32), "lnet": (4, 8, 16, 32), "enet": (1, 2, 4, 8)}
#: Side of the pictures.
SIDES = {"sync": 96, "dnet": 256, "lnet": 96, "enet": 384}
SMALL_SIDES = {"sync": 96, "dnet": 64, "lnet": 32, "enet": 64}
#: Pictures of an item that are drawn.
FRAMES = {"sync": 1, "dnet": 1, "lnet": 5, "enet": 5}
NARROW: dict[str, dict[str, Any]] = {
    "sync": {"channels": (4, 4, 8, 8, 8)},
    "dnet": {"warping": (4, 8, 8, 8, 8, 8), "editing": (4, 8, 8, 8)},
    "lnet": {"channels": (8, 8, 8, 16), "num_res_blocks": 1},
    "enet": {"reading": (4, 4, 4, 4, 4, 4, 4), "drawing": (8, 4)},
}


def prepared(kind: str, device: str, small: bool) -> Networks:
    """Networks of a training on a device, with random weights, the frozen ones too, at their real sizes."""
    torch.manual_seed(0)
    networks = networks_for(kind, {"channels": (8, 8)} if small else None, **(NARROW[kind] if small else {}))
    if kind != "sync":
        networks.features = (
            random_features(0, (4, 4, 4, 4, 4)) if small else random_features(0, (64, 128, 256, 512, 512))
        )
    if kind in ("lnet", "enet"):
        networks.expert = SyncExpert(**(NARROW["sync"] if small else {})).requires_grad_(False).eval()
    if kind == "enet":
        if not small:
            networks.identity = ArcFace()
        networks.speaker = initial("lnet", **(NARROW["lnet"] if small else {})).requires_grad_(False).eval()
    networks.trained().to(device)
    for network in networks.frozen():
        network.to(device)
    assert networks.features is None or isinstance(networks.features, VGG19)
    return networks


def made_up(kind: str, batch: int, device: str, small: bool = False) -> dict[str, torch.Tensor]:
    """Return a batch of noise in the shapes of `retalk_models.training.steps`; ``small``: pictures of 32 or 64 pixels."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.rand(batch, *shape, generator=generator).to(device)

    side = SMALL_SIDES[kind] if small else SIDES[kind]
    if kind == "sync":
        return {
            "faces": noise(5, 3, 96, 96),
            "mel": noise(1, 80, 16) * 8 - 4,
            "in_sync": (noise() > 0.5).float(),
        }
    if kind == "dnet":
        return {
            "source": noise(3, side, side) * 2 - 1,
            "target": noise(3, side, side) * 2 - 1,
            "coeff": noise(73, 26),
        }
    return {
        "target": noise(5, 3, side, side),
        "reference": noise(5, 3, side, side),
        "mel": noise(5, 1, 80, 16) * 8 - 4,
    }


def synchronise(device: str) -> None:
    """Wait for the GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measured(
    networks: Networks, kind: str, batch: int, args: argparse.Namespace, half: bool
) -> dict[str, Any]:
    """Time a few steps, optimiser and all; the memory is the peak that torch had reserved."""
    data, config = made_up(kind, batch, args.device, args.small), LOSSES[kind]()
    if kind == "dnet":
        config = dataclasses.replace(config, warp_steps=0)  # the second phase, which runs both networks
    if args.small and kind != "sync":
        config = dataclasses.replace(config, scales=1)  # features need 16 pixels
    trained = networks.trained()
    optimiser = torch.optim.Adam([p for p in trained.parameters() if p.requires_grad], lr=1e-5)
    if args.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    times, loss = [], 0.0
    for number in range(args.warmup + args.steps):
        synchronise(args.device)
        start = time.perf_counter()
        with torch.autocast(args.device.split(":")[0], torch.bfloat16, enabled=half):
            step = training_step(kind, networks, data, config, number)
        step.total.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 10.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        synchronise(args.device)
        times.append(time.perf_counter() - start)
        loss = float(step.total.detach())
    seconds = sorted(times[args.warmup :])[args.steps // 2]
    peak = torch.cuda.max_memory_reserved() / 2**30 if args.device.startswith("cuda") else None
    return {
        "network": kind,
        "precision": "bfloat16" if half else "float32",
        "batch": batch,
        "frames": batch * FRAMES[kind],
        "seconds_per_step": round(seconds, 5),
        "items_per_second": round(batch / seconds, 2),
        "peak_gib": None if peak is None else round(peak, 2),
        "loss": loss,
        "finite": math.isfinite(loss),
    }


def cases(args: argparse.Namespace) -> Iterator[tuple[str, int, bool]]:
    """Network, batch and precision: every network's first batch before anybody's second."""
    sizes = dict.fromkeys(BATCHES, (2,)) if args.small else BATCHES
    for place in range(max(map(len, sizes.values()))):
        for kind in args.networks:
            for half in (False, True):
                if place < len(sizes[kind]):
                    yield kind, sizes[kind][place], half


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the cases until the time is up."""
    end = time.monotonic() + 60 * args.minutes
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    full: set[tuple[str, bool]] = set()
    built: dict[str, Networks] = {}
    for kind, batch, half in cases(args):
        about = {"network": kind, "precision": "bfloat16" if half else "float32", "batch": batch}
        if time.monotonic() > end or (kind, half) in full:
            left_out.append({**about, "reason": "time" if (kind, half) not in full else "memory"})
            continue
        if kind not in built:
            built[kind] = prepared(kind, args.device, args.small)
        try:
            rows.append(measured(built[kind], kind, batch, args, half))
        except torch.OutOfMemoryError:
            full.add((kind, half))
            left_out.append({**about, "reason": "memory"})
        for network in built[kind].trained().values():
            network.zero_grad(set_to_none=True)
        gc.collect()
        if args.device.startswith("cuda"):
            torch.cuda.empty_cache()
        if rows:
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    cuda = args.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "tf32": torch.backends.cuda.matmul.allow_tf32 if cuda else None,
        "small": args.small,
        "parameters": {
            kind: sum(p.numel() for p in networks.generator.parameters()) for kind, networks in built.items()
        },
        "rows": rows,
        "left_out": left_out,
    }


def main(argv: list[str] | None = None) -> int:
    """Measure and write; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("-o", "--output", metavar="FILE", help="JSON; without it the output is stdout")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=7, help="timed steps of a case; the median counts")
    parser.add_argument("--warmup", type=int, default=2, help="steps of a case that are not counted")
    parser.add_argument("--networks", nargs="+", choices=list(BATCHES), default=list(BATCHES))
    parser.add_argument("--small", action="store_true", help="narrow networks, batches of 2")
    args = parser.parse_args(argv)
    if args.device.startswith("cuda"):
        torch.backends.cudnn.benchmark = True
    text = json.dumps(measure(args), indent=1)
    if args.output:
        Path(args.output).write_text(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
