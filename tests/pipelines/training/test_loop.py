"""Trainings of narrow networks on made-up clips: they go on as if never interrupted, and what they refuse and skip."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from pipelines.cli.main import main
from pipelines.errors import UsageError
from pipelines.training import loop
from pipelines.training.batches import Items, batches, planes
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import TrainingConfig, load_config
from pipelines.training.frozen import Sources
from pipelines.training.loop import Trainer, TrainingError
from tests.pipelines.training.made import TINY, made_set

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[3]
NARROW = {
    "steps": 6,
    "batch": 2,
    "size": 32,
    "evaluate_every": 3,
    "evaluate_batches": 1,
    "checkpoint_minutes": 1e-6,
    "network": {"channels": [8, 8, 8, 16], "num_res_blocks": 1},
    "critic": {"channels": [8, 8]},
    "losses": {"sync_below": 0.75},
}
RANDOM = Sources(features="random")


def narrow(**changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"kind": "lnet", **NARROW, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    settings = dataclasses.replace(TINY, heads=0, faces=32)
    return made_set(tmp_path_factory.mktemp("train") / "data", clips=1, frames=20, settings=settings).url


def test_windows_of_a_clip_are_apart_and_hear_their_own_sound(tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, heads=0, faces=96, validation=0.0)
    data = made_set(tmp_path / "data", "ab", clips=1, frames=18, settings=settings)
    items = Items(data.url, "train", TrainingConfig(kind="sync", steps=1, batch=1, windows=4))
    item, clips = items[5], items.clips
    assert (item["faces"].shape, item["mel"].shape) == ((4, 5, 3, 96, 96), (4, 1, 80, 16))
    found = []
    for faces, mel in zip(item["faces"].numpy(), item["mel"].numpy(), strict=True):
        places = [
            (n, s) for n in range(2) for s in range(14) if (clips.read(n, s, 1)["mel_chunks"] == mel).all()
        ]
        assert len(places) == 1
        found += places
        assert np.array_equal(planes(clips.read(*places[0], 5)["faces"]), faces)
    assert len({number for number, _ in found}) == 1
    assert np.diff([start for _, start in found]).min() >= 3
    with pytest.raises(UsageError, match="no clip of 23 frames"):
        Items(data.url, "train", TrainingConfig(kind="sync", steps=1, batch=1, windows=7))


def weights(run: Path) -> dict[str, Any]:
    found = Checkpoints(str(run)).latest()
    assert found is not None
    return found[1]


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Every tensor bit for bit, everything else equal; times in the log aside."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one.keys() - {"seconds"}:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{number}]")
    else:
        assert one == other, where


def test_a_killed_training_goes_on_to_the_same_weights_bit_for_bit(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [f"--set={key}={json.dumps(value)}" for key, value in NARROW.items()]
    command = ["train", "lnet", "--data", data, "--features", "random", *changes]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *command, "-o", str(killed)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not Checkpoints(str(killed)).steps() and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert Checkpoints(str(killed)).steps(), first.stderr.read() if first.stderr else ""
    assert Checkpoints(str(killed)).steps()[-1] < 6, "it ended before it could be killed"
    for output in (killed, whole):
        assert main([*command, "-o", str(output)]) == 0
        assert capsys.readouterr().err.count("goes on from step") == (output == killed)
    assert_same(weights(killed), weights(whole))
    assert weights(whole)["step"] == 6
    assert list((whole / "samples").glob("*.jpg"))


def test_items_hang_on_seed_and_position_alone(data: str) -> None:
    config = narrow()
    items = Items(data, "train", config)

    def first(count: int, **about: Any) -> list[torch.Tensor]:
        stream = batches(items, about.pop("config", config), **about)
        return [next(stream)["target"] for _ in range(count)]

    from_two = first(3, first_step=2)
    assert all(torch.equal(a, b) for a, b in zip(from_two, first(5, first_step=0)[2:], strict=True))
    assert not torch.equal(from_two[0], from_two[1])
    # Two workers see what one with twice the batch sees.
    larger = first(2, first_step=1, config=narrow(batch=4))
    shares = [first(2, first_step=1, rank=rank, world=2) for rank in (0, 1)]
    for step in (0, 1):
        assert torch.equal(torch.cat([share[step] for share in shares]), larger[step])
    other = Items(data, "train", narrow(seed=1))
    assert not torch.equal(items[0]["target"], other[0]["target"])


def test_every_clip_comes_once_in_an_epoch(data: str) -> None:
    items = Items(data, "train", narrow())
    read: list[int] = []
    items._lnet = lambda number, random: (read.append(number), {"n": np.float32(number)})[1]  # type: ignore[method-assign]
    for position in range(2 * len(items.clips)):
        items[position]
    half = len(items.clips)
    assert sorted(read[:half]) == sorted(read[half:]) == list(range(half))


def test_a_step_that_is_not_finite_changes_nothing_and_too_many_give_up(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    trainer = Trainer(
        narrow(bad_steps=2, steps=3, evaluate_every=9), RANDOM, data, str(tmp_path / "run"), tell=said.append
    )
    before = {key: value.clone() for key, value in trainer.stepped.trained.state_dict().items()}
    real = loop.batches

    def poisoned(*args: Any, **kwargs: Any) -> Iterator[dict[str, torch.Tensor]]:
        for batch in real(*args, **kwargs):
            yield {key: value * float("nan") for key, value in batch.items()}

    monkeypatch.setattr(loop, "batches", poisoned)
    with pytest.raises(TrainingError, match=r"2 steps in a row were not finite, up to step 2"):
        trainer.train()
    for key, value in trainer.stepped.trained.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, before[key]), key
    assert sum("is skipped" in line for line in said) == 2


def test_other_settings_are_refused_and_more_steps_are_not(data: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    Trainer(narrow(steps=1), RANDOM, data, run, tell=lambda text: None).train()
    with pytest.raises(UsageError, match=r"other settings \(different: batch, seed\)"):
        Trainer(narrow(steps=2, batch=3, seed=4), RANDOM, data, run)
    said: list[str] = []
    assert Trainer(narrow(steps=2), RANDOM, data, run, tell=said.append).train()["step"] == 2
    assert said[0] == "goes on from step 1"
    settings = dataclasses.replace(TINY, heads=0, faces=32)
    other = made_set(tmp_path / "grown", clips=2, frames=20, settings=settings).url
    said.clear()
    Trainer(narrow(steps=3), RANDOM, other, run, tell=said.append)
    assert said[0].endswith("grown: holds other clips than when this training was interrupted")


def test_a_damaged_checkpoint_is_passed_over(data: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    Trainer(narrow(steps=2), RANDOM, data, run, tell=lambda text: None).train()
    newest = Path(Checkpoints(run).url(2))
    newest.write_bytes(newest.read_bytes()[:1000])
    said: list[str] = []
    trainer = Trainer(narrow(steps=2), RANDOM, data, run, tell=said.append)
    assert trainer.step == 1
    assert "cannot be read" in said[0]


def test_checkpoints_lie_at_any_url_and_killed_writers_leave_nothing(data: str, tmp_path: Path) -> None:
    run = f"memory://{tmp_path.name}/run"
    whole = Trainer(narrow(steps=2), RANDOM, data, f"file://{tmp_path}/whole", tell=lambda text: None)
    assert whole.train()["step"] == 2
    Trainer(narrow(steps=1), RANDOM, data, run, tell=lambda text: None).train()
    left = f".step-000000002.{hashlib.sha256(b'step-000000002.pt').hexdigest()[:8]}.1-12345678.part.pt"
    with fsspec.open(f"{run}/checkpoints/{left}", "wb") as file:
        file.write(b"half")
    said: list[str] = []
    Trainer(narrow(steps=2), RANDOM, data, run, tell=said.append).train()
    assert said[0] == "goes on from step 1"
    found = Checkpoints(run).latest()
    assert found is not None
    assert_same(found[1]["networks"], weights(tmp_path / "whole")["networks"])
    fs, path = fsspec.core.url_to_fs(f"{run}/checkpoints")
    assert [name.rsplit("/", 1)[-1] for name in sorted(fs.find(path))] == [
        "step-000000001.pt",
        "step-000000002.pt",
    ]


def test_a_training_stops_early(data: str, tmp_path: Path) -> None:
    said: list[str] = []
    run = str(tmp_path / "run")
    trainer = Trainer(narrow(evaluate_every=1, stop_below=1e9), RANDOM, data, run, tell=said.append)
    assert trainer.train()["step"] == 1
    assert "the loss is below" in said[-1]
    assert Checkpoints(run).steps() == [1]
    trainer.config = narrow(patience=2)
    trainer.best = float("inf")
    losses = [3.0, 2.0, 2.5, 1.0, 1.0, 1.5]
    assert [trainer._is_good_enough({"loss": loss}) for loss in losses] == [False] * 5 + [True]
    assert "no better for 2 evaluations" in said[-1]


def test_the_sync_loss_switches_on_and_stays_on(data: str, tmp_path: Path) -> None:
    config = narrow(losses={"sync_below": 100.0, "sync": 0.03}, steps=3)
    from pipelines.training.export import export

    expert = TrainingConfig.model_validate(
        {
            "kind": "sync",
            "steps": 1,
            "batch": 2,
            "size": 32,
            "critic": None,
            "network": {"channels": [4, 4, 8, 8, 8]},
        }
    )
    # Of 32 pixels the faces are too small for the expert itself, so it is exported untrained.
    trainer = Trainer(expert, Sources(), data, str(tmp_path / "sync"), tell=lambda text: None)
    trainer._save()
    export(str(tmp_path / "sync"), str(tmp_path / "expert.pth"))
    sources = dataclasses.replace(RANDOM, expert=str(tmp_path / "expert.pth"))
    said: list[str] = []
    trained = Trainer(config, sources, data, str(tmp_path / "lnet"), tell=said.append)
    assert not trained.sync_on
    trained.train()
    assert trained.sync_on
    assert sum("the sync loss counts" in line for line in said) == 1
    assert weights(tmp_path / "lnet")["sync_on"]


def test_pictures_of_another_size_are_refused(data: str) -> None:
    with pytest.raises(
        UsageError, match="faces are 32 pixels a side, lnet needs 96: prepare the data set with --faces 96"
    ):
        Items(data, "train", narrow(size=0))


def test_configurations_name_what_is_wrong() -> None:
    assert load_config("lnet", "", ["losses.sync=0.05", "rate.rate=2e-5"]).rate.rate == 2e-5
    with pytest.raises(UsageError, match=r"lnet.yaml with --set: stepz: unknown key, did you mean 'steps'"):
        load_config("lnet", "", ["stepz=1"])
    with pytest.raises(UsageError, match="sync_below"):
        load_config("lnet", "", ["losses.sync_belo=1"])
    with pytest.raises(UsageError, match="must be KEY=VALUE"):
        load_config("lnet", "", ["steps"])


@pytest.mark.parametrize("kind", ["sync", "dnet", "lnet", "enet"])
def test_every_value_of_a_configuration_says_where_it_is_from(kind: str) -> None:
    load_config(kind)
    text = (ROOT / "configs" / "training" / f"{kind}.yaml").read_text()
    values = [
        line
        for line in text.splitlines()
        if ":" in line and not line.startswith(("#", "description", "critic: null"))
    ]
    marked = {"[paper]", "[public]", "[ours]"}
    inside = False
    for line in values:
        inside = inside and line.startswith(" ")
        assert inside or line == "losses:" or any(mark in line for mark in marked), line
        inside = inside or (line.startswith("losses:") and any(mark in line for mark in marked))
