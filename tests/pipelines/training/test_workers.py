"""Two workers by DistributedDataParallel against one with twice the batch."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.drills.processes import command_of, descendants
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import TrainingConfig, load_config
from pipelines.training.data.finish import finish
from pipelines.training.data.reader import encoded
from pipelines.training.data.store import DataSet, Receipt
from pipelines.training.frozen import Sources
from pipelines.training.loop import Trainer
from tests.pipelines.training.made import TINY, made_clip

ROOT = Path(__file__).parents[3]
#: D-Net has no batch norms, whose statistics would be each worker's own. Adam's epsilon is large: gradients that are nothing but
#: rounding (biases in front of a norm) must not become whole steps.
NARROW: dict[str, Any] = {
    **{"steps": 3, "batch": 1, "size": 64, "critic": None, "evaluate_every": 9, "epsilon": 1e-2},
    **{"rate": {"rate": 1e-3}, "losses": {"scales": 1, "warp_steps": 1, "style": 1.0}},
    "network": {"warping": [4, 8, 8, 8, 8, 8], "editing": [4, 8, 8, 8]},
}
RANDOM = Sources(features="random")


def changes_of(settings: dict[str, Any]) -> list[str]:
    """Settings in the form of `--set`."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def narrow(**changes: Any) -> TrainingConfig:
    """The shipped configuration with `NARROW` on top, as the command reads it."""
    return load_config("dnet", changes=changes_of({**NARROW, **changes}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clips with made-up coefficients."""
    settings = dataclasses.replace(TINY, heads=64, faces=0, validation=0.0)
    made = DataSet(str(tmp_path_factory.mktemp("workers") / "data"))
    made.begin(settings, {"sources": "made"})
    random, receipts = np.random.default_rng(0), {}
    for number, identity in enumerate(("ann", "bob", "cid")):
        clip = made_clip(f"{identity}/0/0", identity, 20, settings, number)
        # Flat pictures would leave differences of 0, whose sign, and so the gradient of L1, is a matter of rounding.
        noise = random.integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
        clip["heads"] = encoded(np.stack([cv2.resize(one, (64, 64)) for one in noise]), 95)
        clip["coefficients"] = random.normal(0, 1, (20, 262)).astype(np.float32)
        name = f"{number:05d}"
        receipts[name] = made.write_shard(name, [clip], Receipt(seconds=0.8))
    finish(made, settings, receipts)
    return made.url


def _worker(rank: int, data: str, run: str, meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    Trainer(narrow(), RANDOM, data, run, tell=lambda text: None).train()
    dist.destroy_process_group()


def assert_like_twice_the_batch(data: str, run: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    single = Trainer(narrow(batch=2), RANDOM, data, str(tmp_path / "one"), tell=lambda text: None)
    first = {key: value.clone() for key, value in single.stepped.trained.state_dict().items()}
    single.train()
    found = Checkpoints(run).latest()
    assert found is not None
    moved = differ = 0.0
    for key, value in single.stepped.trained.state_dict().items():
        moved += float((value - first[key]).square().sum())
        differ += float((value - found[1]["networks"][key]).square().sum())
    # Until the weights have moved far apart, rounding is the only difference; a sum in place of a mean, other data or another
    # rate would show here.
    for mine, theirs in zip(single.log.rows, found[1]["log"], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert theirs["norm"] == pytest.approx(mine["norm"], rel=1e-2)
    # Rounding turns over a few of the signs that L1 and the kinks of activations depend on.
    assert differ**0.5 < 0.02 * moved**0.5
    assert moved**0.5 > 0.05


def test_two_workers_equal_one_with_twice_the_batch(data: str, tmp_path: Path) -> None:
    mp.spawn(_worker, (data, str(tmp_path / "two"), str(tmp_path / "meeting")), nprocs=2)
    assert_like_twice_the_batch(data, str(tmp_path / "two"), tmp_path)


def test_accumulated_batches_equal_one_of_twice_the_size(data: str, tmp_path: Path) -> None:
    run = str(tmp_path / "parts")
    torch.set_num_threads(1)
    Trainer(narrow(accumulate=2), RANDOM, data, run, tell=lambda text: None).train()
    assert_like_twice_the_batch(data, run, tmp_path)


@pytest.mark.slow
def test_two_workers_on_ray_train_equal_one_process_with_twice_the_batch(data: str, tmp_path: Path) -> None:
    run = tmp_path / "ray"
    with training_on_ray(data, run, NARROW) as (process, _):
        said, noted = process.communicate(timeout=400)
    assert process.returncode == 0, noted[-4000:]
    assert json.loads(said.strip().splitlines()[-1])["step"] == 3
    assert_like_twice_the_batch(data, str(run), tmp_path)


@pytest.mark.slow
def test_a_worker_on_ray_that_is_killed_is_replaced_and_loses_nothing(data: str, tmp_path: Path) -> None:
    settings = {**NARROW, "steps": 24, "checkpoint_minutes": 1e-6, "keep": 24}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with training_on_ray(data, whole, settings) as (process, _):
        _, noted = process.communicate(timeout=400)
    assert process.returncode == 0, noted[-4000:]
    with training_on_ray(data, broken, settings) as (process, workers):
        while process.poll() is None and len(Checkpoints(str(broken)).steps()) < 3:
            time.sleep(0.02)
        os.kill(workers()[0], signal.SIGKILL)
        killed_at = Checkpoints(str(broken)).steps()[-1]
        said, noted = process.communicate(timeout=400)
    assert process.returncode == 0, noted[-4000:]
    assert killed_at < 24, "the worker was killed in the middle"
    assert json.loads(said.strip().splitlines()[-1])["step"] == 24
    expected, found = Checkpoints(str(whole)).latest(), Checkpoints(str(broken)).latest()
    assert expected is not None
    assert found is not None
    assert [row["step"] for row in found[1]["log"]] == [row["step"] for row in expected[1]["log"]]
    for key, value in expected[1]["networks"].items():
        assert torch.allclose(value, found[1]["networks"][key], rtol=1e-3, atol=1e-4), key


@contextlib.contextmanager
def training_on_ray(
    data: str, run: Path, settings: dict[str, Any]
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], list[int]]]]:
    """The command with two workers, in a Ray of its own; also what finds the processes of the workers."""
    command = [sys.executable, "-m", "pipelines", "train", "dnet", "--data", data, "-o", str(run)]
    command += ["--workers", "2", "--features", "random", "--json"]
    command += [f"--set={change}" for change in changes_of(settings)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def workers() -> list[int]:
        return [pid for pid in descendants(process.pid) if "RayTrainWorker" in command_of(pid)]

    try:
        yield process, workers
    finally:
        process.terminate()
        process.communicate()
