"""A training in this process, or with several workers on Ray Train."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable
from typing import Any

from pyarrow.fs import FSSpecHandler, PyFileSystem

from operators.storage.files import filesystem, is_url, join, local_path
from pipelines.errors import UsageError
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import TrainingConfig
from pipelines.training.frozen import Sources

#: Times that lost workers are replaced; each begins at the last checkpoint.
RESTARTS = 3


@dataclasses.dataclass(frozen=True)
class Request:
    """A training that is asked for.

    Attributes:
        config: settings.
        sources: files beside the data.
        data: URL of the prepared data set.
        run: URL of the run's folder.
        workers: processes; more than one run on Ray.
        gpus: a GPU for each worker.
    """

    config: TrainingConfig
    sources: Sources
    data: str
    run: str
    workers: int = 1
    gpus: bool = False


def absolute(url: str) -> str:
    """A path as all processes see it."""
    return url if is_url(url) else str(local_path(url).absolute())  # type: ignore[union-attr]


def launch(request: Request, runner: str, resume: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    """Train, or go on with a training that was interrupted.

    Args:
        request: see `Request`.
        runner: "local" (this process, one worker) or "ray".
        resume: there must be something to go on with.
        tell: called with lines for the user.

    Returns:
        The last measurements, with ``step`` and ``skipped``.

    Raises:
        UsageError: nothing to resume, or the settings do not fit.
    """
    if resume and not Checkpoints(request.run).steps():
        raise UsageError(f"--resume: {request.run} holds no checkpoint; leave it out to begin")
    if runner == "local":
        return train_worker(request, tell)
    metrics = on_ray(_ray_worker, {"request": request}, request.run, request.workers, request.gpus)
    # Ray keeps what was reported with a checkpoint only; ours lie in the training's own folder.
    found = Checkpoints(request.run).latest()
    assert found is not None, "a training that has ended has written its last step"
    return {"step": found[1]["step"], "skipped": found[1]["counts"]["skipped"], **metrics}


def train_worker(request: Request, tell: Callable[[str], None]) -> dict[str, Any]:
    """Train as one worker, of several where torch's process group says so."""
    import torch

    from pipelines.training.loop import Trainer

    device = "cuda" if request.gpus else "cpu"
    if request.gpus and torch.distributed.is_initialized():
        from ray.train.torch import get_device

        device = str(get_device())
    return Trainer(request.config, request.sources, request.data, request.run, device, tell).train()


def on_ray(
    work: Callable[[dict[str, Any]], None], about: dict[str, Any], run: str, workers: int, gpus: bool
) -> dict[str, Any]:
    """Run a function in the workers of a TorchTrainer on the connected Ray; returns what was reported last.

    Args:
        work: called in each worker with ``about``; lost workers are replaced, and all begin again with it.
        about: what it is called with.
        run: URL of the run's folder, which all nodes see.
        workers: their number.
        gpus: a GPU for each.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # Ray's own notes must lie where all nodes see them; nothing in them is needed after the end.
    notes = join(run, f"ray-{secrets.token_hex(4)}")
    fs, path = filesystem(notes)
    storage = {"storage_filesystem": PyFileSystem(FSSpecHandler(fs))} if is_url(notes) else {}
    trainer = TorchTrainer(
        work,
        train_loop_config=about,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=RunConfig(
            name="training",
            storage_path=path,
            failure_config=FailureConfig(max_failures=RESTARTS),
            **storage,
        ),
    )
    try:
        return trainer.fit().metrics or {}
    finally:
        with contextlib.suppress(FileNotFoundError):
            fs.rm(path, recursive=True)


def _ray_worker(loop_config: dict[str, Any]) -> None:
    import ray.train

    result = train_worker(loop_config["request"], lambda text: print(text, flush=True))
    ray.train.report(result)
