"""Training of talkin on a made-up data set: it learns, goes on after a kill with the same bits, and stops where it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml

from operators.talkin.model import read_model, shared_model
from pipelines.cli.main import main
from pipelines.errors import ConfigError, UsageError
from pipelines.training.data.reader import ClipSet
from pipelines.training.talkin.batches import Faces, Voices, learn_factors, read_utterances
from pipelines.training.talkin.config import load_config, plain
from pipelines.training.talkin.loop import SEEN, SPOKEN, Training
from tests.pipelines.training.made import TINY, made_set

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[4]
#: A training of seconds.
SMALL = [
    *(
        "parameters=2",
        "checkpoint_minutes=0",
        "expression.steps=40",
        "expression.frames=30",
        "expression.batch=6",
    ),
    *("expression.dim=24", "expression.state=24", "expression.num_layers=1", "renderer.side=32"),
    *("renderer.channels=8", "renderer.num_levels=2", "renderer.steps=6", "renderer.batch=2"),
    *("renderer.critic_from=3", "renderer.rate=0.001", "expression.rate=0.003"),
]

#: Half the batch of `SMALL`.
SHARED = [*SMALL, "expression.batch=3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clips of four people whose mouths follow their voices."""
    settings = dataclasses.replace(TINY, heads=96)
    return made_set(tmp_path_factory.mktemp("made") / "set", clips=2, frames=40, settings=settings).url


@pytest.fixture(scope="module")
def run(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training by the command."""
    folder = tmp_path_factory.mktemp("run") / "talkin"
    assert main(arguments(data, folder)) == 0
    return folder


def arguments(data: str, folder: Path, *more: str) -> list[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    return ["train", "talkin", "--data", data, "-o", str(folder), "--device", "cpu", "-q", *changes, *more]


def test_it_learns_to_open_the_mouth_of_somebody_it_has_not_seen(run: Path) -> None:
    about = json.loads((run / "figures.json").read_text())
    assert about["evaluated_on"] == "validation"
    assert about["factors"] == "landmarks"
    assert about["figures"]["opening_r"] > 0.6
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    points = [line["points"] for line in lines if line["phase"] == "expression"]
    assert points[-1] < 0.7 * points[0]
    assert (run / "strip.png").stat().st_size > 1000


def test_the_release_is_an_engine(run: Path) -> None:
    engine = yaml.safe_load((run / "talkin.yaml").read_text())
    options = {stage["stage"].rpartition(":")[2]: stage.get("options", {}) for stage in engine["stages"]}
    assert options["Express"] == {"weights": str(run)}
    assert options["PaintMouths"] == {"weights": str(run), "side": 32}
    assert options["BlendMouths"] == {"side": 32}
    model = read_model(run / "models" / "talkin.pt")
    assert model.side == 32
    assert model.factors.basis.shape == (2, 37, 2)
    assert model.about["config"]["seed"] == 0


def test_a_killed_training_ends_with_the_same_bits(data: str, run: Path, tmp_path: Path) -> None:
    """Killed without warning at a checkpoint somewhere in the middle, and resumed."""
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipelines", *arguments(data, folder)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (folder / "checkpoint.pt").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (folder / "talkin.yaml").exists()
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert (kept["phase"], kept["step"]) < (1, 6)
    with pytest.raises(UsageError, match="go on with --resume"):
        main_raising(arguments(data, folder))
    assert main(arguments(data, folder, "--resume")) == 0
    whole, parts = (torch.load(one / "checkpoint.pt", weights_only=True) for one in (run, folder))
    for name, state in whole["networks"].items():
        for key, value in state.items():
            assert torch.equal(value, parts["networks"][name][key]), (name, key)
    assert (folder / "figures.json").read_bytes() == (run / "figures.json").read_bytes()


def main_raising(words: list[str]) -> None:
    """The command, its errors raised."""
    from pipelines.cli.main import parser

    args = parser().parse_args(words)
    args.run(args)


def test_another_configuration_does_not_go_on(data: str, run: Path) -> None:
    with pytest.raises(UsageError, match="another configuration or data set"):
        main_raising(arguments(data, run, "--resume", "--set", "seed=1"))


def test_a_model_that_was_trained_again_is_loaded(data: str, run: Path) -> None:
    """The registry pins a file at its first use; a new release is not taken for a damaged one."""
    shared_model.cache_clear()
    shared_model("cpu", str(run))
    training = Training(load_config("", [*SMALL, "seed=5"]), data, str(run), "cpu", lambda text: None)
    before = (run / "models" / "talkin.pt").read_bytes()
    training.release()
    try:
        shared_model.cache_clear()
        assert shared_model("cpu", str(run)).about["config"]["seed"] == 5
    finally:
        (run / "models" / "models.lock.json").unlink()
        (run / "models" / "talkin.pt").write_bytes(before)


def test_a_loss_that_is_no_number_changes_nothing_and_stops_in_the_end(data: str, tmp_path: Path) -> None:
    training = Training(load_config("", SMALL), data, str(tmp_path), "cpu", lambda text: None)
    weight = training.state.networks["expression"].get_parameter("head.weight")
    with torch.no_grad():
        weight[0, 0] = float("nan")
    before = training.state.networks["expression"].get_parameter("head.bias").clone()
    steps = training.steps()
    for _ in range(9):
        next(steps)
    assert torch.equal(training.state.networks["expression"].get_parameter("head.bias"), before)
    with pytest.raises(UsageError, match="10 times in a row"):
        next(steps)


def test_a_batch_is_a_function_of_seed_and_step(data: str) -> None:
    spoken = read_utterances(ClipSet(data, "train", SPOKEN))
    voices = Voices(spoken, learn_factors(spoken, "landmarks", 2))
    faces = Faces(ClipSet(data, "train", SEEN), 32, 3)
    for draw in (
        lambda step: voices.batch(0, step, 3, 20),
        lambda step: tuple(faces.batch(0, step, 2).values()),
    ):
        first, again, other = draw(4), draw(4), draw(5)
        assert all(torch.equal(a, b) for a, b in zip(first, again))
        assert not torch.equal(first[0], other[0])
    sound, wanted, speakers = voices.batch(0, 1, 3, 20)
    assert (sound.shape, wanted.shape, speakers.shape) == ((3, 20, 80, 16), (3, 20, 2), (3,))
    batch = faces.batch(0, 1, 2)
    assert batch["frames"].shape == (2, 2, 3, 3, 32, 32)
    torch.testing.assert_close(batch["frames"][:, 0, 1:], batch["frames"][:, 1, :-1])


def test_parts_of_workers_are_one_larger_batch(data: str) -> None:
    spoken = read_utterances(ClipSet(data, "train", SPOKEN))
    voices = Voices(spoken, learn_factors(spoken, "landmarks", 2))
    faces = Faces(ClipSet(data, "train", SEEN), 32, 3)
    whole = voices.batch(0, 1, 4, 20)
    parts = [voices.batch(0, 1, 2, 20, rank, 2) for rank in (0, 1)]
    assert all(torch.equal(one, torch.cat(two)) for one, two in zip(whole, zip(*parts)))
    pictures = faces.batch(0, 1, 2)
    halves = [faces.batch(0, 1, 1, rank, 2) for rank in (0, 1)]
    assert all(torch.equal(one, torch.cat([half[name] for half in halves])) for name, one in pictures.items())


def _worker(rank: int, data: str, folder: str, meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    training = Training(load_config("", SHARED), data, folder, "cpu", lambda text: None)
    steps = training.steps()
    for _ in range(3):
        next(steps)
    if rank == 0:
        torch.save(training.state.networks["expression"].state_dict(), f"{folder}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_take_the_steps_of_one_with_twice_the_batch(data: str, tmp_path: Path) -> None:
    mp.spawn(_worker, (data, str(tmp_path / "two"), str(tmp_path / "meeting")), nprocs=2)
    one = Training(
        load_config("", [*SHARED, "expression.batch=6"]), data, str(tmp_path), "cpu", lambda text: None
    )
    network = one.state.networks["expression"]
    first = {key: value.clone() for key, value in network.state_dict().items()}
    steps = one.steps()
    for _ in range(3):
        next(steps)
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    moved = sum(float((value - first[key]).square().sum()) for key, value in network.state_dict().items())
    differ = sum(float((value - two[key]).square().sum()) for key, value in network.state_dict().items())
    assert differ < 1e-4 * moved


@pytest.mark.slow
def test_workers_on_ray_train_write_an_engine(data: str, tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "pipelines", *arguments(data, folder, "--workers", "2", "--json")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.strip().splitlines()[-1])["figures"]["opening_r"] > 0.6
    assert read_model(folder / "models" / "talkin.pt").side == 32
    assert not list(folder.glob("ray-*"))


def test_expression_is_what_the_made_up_voice_says(data: str) -> None:
    """Its first parameter is the opening that the sound's level asked for."""
    spoken = read_utterances(ClipSet(data, None, SPOKEN))
    voices = Voices(spoken, learn_factors(spoken, "landmarks", 2))
    for number, one in enumerate(voices.expressions):
        level = 10 ** (voices.sound(number).mean((1, 2)) * 100 / 160)
        assert abs(np.corrcoef(one[:, 0], level)[0, 1]) > 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["renderer.side=50"], "side must be a multiple of 16"),
        (["renderer.size=50"], "renderer.size"),
        (["expression.steps=many"], "expression.steps"),
        (["seed"], "must be KEY=VALUE"),
        (["seed.of=1"], "seed has no parts"),
    ],
)
def test_mistakes_in_a_configuration_are_named(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("", changes)


def test_the_shipped_configuration_says_where_each_value_comes_from() -> None:
    text = (ROOT / "configs" / "training" / "talkin.yaml").read_text()
    shipped: dict[str, Any] = yaml.safe_load(text)
    assert plain(load_config()) == shipped
    assert {word for word in ("paper", "practice", "ours") if word in text} == {"paper", "practice", "ours"}


def test_a_data_set_without_coefficients_cannot_be_measured_by_them(data: str, tmp_path: Path) -> None:
    config = load_config("", [*SMALL, "factors=coefficients"])
    with pytest.raises(UsageError, match="no 3DMM coefficients"):
        Training(config, data, str(tmp_path), "cpu", lambda text: None)
