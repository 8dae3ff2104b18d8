"""A run of talkin's training: in this process or by workers of Ray Train, its folder, and the engine that comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import yaml

from operators.storage.files import exists, filesystem, join
from pipelines.errors import UsageError
from pipelines.state.lock import RunLock
from pipelines.state.run_directory import read_json, write_text
from pipelines.training.agreement import first_says, wait
from pipelines.training.launch import on_ray
from pipelines.training.talkin.config import TalkinConfig, plain
from pipelines.training.talkin.loop import LOG_EVERY, PHASES, Training


def train(
    config: TalkinConfig,
    data: str,
    url: str,
    resume: bool = False,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
    workers: int = 0,
) -> dict[str, Any]:
    """Train talkin, or go on with it.

    Args:
        config: of the run.
        data: URL of a prepared data set.
        url: fsspec URL of the run's folder: ``checkpoint.pt``, ``log.jsonl`` and in the end ``models/talkin.pt``, ``talkin.yaml``
            (the engine), ``figures.json``, ``strip.png``.
        resume: go on from the checkpoint.
        device: torch device.
        say: is told how it stands.
        workers: on Ray Train, a GPU for each where the device is a GPU; 0: this process.

    Returns:
        The figures of the release.

    Raises:
        UsageError: the data set cannot be used, the folder holds another run, or the loss is not finite for long.
    """
    wanted = _about(config, data)
    with RunLock(url):
        there = read_json(join(url, "run.json"))
        if there is not None and not resume:
            raise UsageError(f"{url}: holds a training already; go on with --resume, or give another folder")
        if there is not None and there != json.loads(json.dumps(wanted)):
            raise UsageError(
                f"{url}: holds a training with another configuration or data set; give the same, or another folder"
            )
        if not workers:
            return _work(config, data, url, resume, device, say)
        about = {"config": config, "data": data, "url": url, "resume": resume, "device": device}
        on_ray(_ray_worker, about, url, workers, device.startswith("cuda"))
        return dict(read_json(join(url, "figures.json"))["figures"])  # type: ignore[index]


def _about(config: TalkinConfig, data: str) -> dict[str, Any]:
    """The content of ``run.json``."""
    return {"config": plain(config), "data": data}


def _ray_worker(about: dict[str, Any]) -> None:
    import ray.train
    from ray.train.torch import get_device

    def say(text: str) -> None:
        print(text, flush=True)

    # A worker that replaces a lost one goes on, whatever was asked for.
    resume = about["resume"] or exists(join(about["url"], "run.json"))
    device = str(get_device()) if about["device"].startswith("cuda") else about["device"]
    _work(about["config"], about["data"], about["url"], resume, device, say)
    ray.train.report({})


def _work(
    config: TalkinConfig, data: str, url: str, resume: bool, device: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train as one worker, of several where torch's process group says so; the first writes and returns the figures."""
    training = Training(config, data, url, device, say)
    if training.rank == 0:
        write_text(join(url, "run.json"), json.dumps(_about(config, data), indent=1))
    if resume and training.resume():
        training.say(f"goes on at step {training.state.step} of {PHASES[min(training.state.phase, 1)]}")
    _run(training, config, training.say)
    figures: dict[str, Any] = {}
    if training.rank == 0:
        say("evaluating")
        figures = training.release()
        write_text(join(url, "talkin.yaml"), engine_file(url, config.renderer.side))
    wait()
    return figures


def _run(training: Training, config: TalkinConfig, say: Callable[[str], None]) -> None:
    """All steps, with the log and checkpoints."""
    saved, sums = time.monotonic(), dict[str, list[float]]()
    lines: list[str] = []
    for parts in training.steps():
        phase = PHASES[training.state.phase]
        for name, value in parts.items():
            sums.setdefault(name, []).append(value)
        step = int(parts["step"])
        if step % LOG_EVERY == 0:
            means = {
                name: round(float(np.mean(values)), 6) for name, values in sums.items() if name != "step"
            }
            lines.append(json.dumps({"phase": phase, "step": step, **means}))
            say(f"{phase} {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in means.items()))
            sums = {}
        if first_says(time.monotonic() - saved > 60 * config.checkpoint_minutes, training.device):
            _keep(training, lines)
            saved = time.monotonic()
    _keep(training, lines)


def _keep(training: Training, lines: list[str]) -> None:
    """Write the checkpoint, and the lines of the log since the last one: a run that goes on repeats no line."""
    training.save()
    if training.rank:
        return
    url = join(training.url, "log.jsonl")
    fs, path = filesystem(url)
    before = fs.cat_file(path).decode() if fs.exists(path) else ""
    write_text(url, before + "".join(f"{line}\n" for line in lines))
    lines.clear()


def engine_file(url: str, side: int) -> str:
    """The engine talkin with the weights of a run, as YAML for ``--engine``."""
    shipped = yaml.safe_load(resources.files("configs").joinpath("engines", "talkin.yaml").read_text())
    for stage in shipped["stages"]:
        own = stage["stage"].rpartition(":")[2]
        options: dict[str, Any] = {"weights": url} if own in ("Express", "PaintMouths") else {}
        if own in ("PaintMouths", "BlendMouths"):
            options["side"] = side
        if options:
            stage["options"] = options
    text: str = yaml.safe_dump(shipped, sort_keys=False)
    return text
