"""The neural engine's stages with networks that remember: asked the same again, by another run or another
process, they do not compute.

What they are asked is made by the real stages every time. Answers lie in the folder ``answers`` of the
weights' home, one file a question.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from operators.retalk import (
    blend_stage,
    dnet_stage,
    enet_stage,
    lnet_stage,
    parity_analysis,
    parity_dubbing,
    recon3d_stage,
)
from operators.retalk.nets import Networks
from operators.stage import Stage
from pipelines.engine.config import EngineConfig, load_engine


class Remembered:
    """A network. A batch is asked picture by picture, so that other batches of the same pictures are no other
    questions.
    """

    def __init__(self, load: Callable[[], Any], name: str, folder: Path) -> None:
        self.load, self.name, self.folder = functools.cache(load), name, folder

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("__call__", args, kwargs)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._ask(method, args, kwargs)

    def _ask(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        count = next(len(a) for a in args if isinstance(a, Tensor))
        return joined(
            [
                self._one(method, [a[i : i + 1] if isinstance(a, Tensor) else a for a in args], kwargs)
                for i in range(count)
            ]
        )

    def _one(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        digest = hashlib.sha256(f"{self.name} {method} {kwargs}".encode())
        for value in args:
            digest.update(
                f"{value.shape} {value.dtype}".encode() if isinstance(value, Tensor) else f"{value}".encode()
            )
            digest.update(value.contiguous().numpy().tobytes() if isinstance(value, Tensor) else b"")
        path = self.folder / f"{digest.hexdigest()}.pt"
        if not path.exists():
            self.folder.mkdir(exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            torch.save(kept(getattr(self.load(), method)(*args, **kwargs)), part)
            part.replace(path)
        return torch.load(path)


def kept(value: Any) -> Any:
    """An answer as it can be stored: plain tensors of their own."""
    if isinstance(value, Tensor):
        with torch.inference_mode(False):
            return value.clone().contiguous()
    if isinstance(value, dict):
        return {key: kept(item) for key, item in value.items()}
    return value if value is None else type(value)(kept(item) for item in value)


def joined(parts: list[Any]) -> Any:
    """Answers for single pictures as the answer for the batch."""
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    if isinstance(parts[0], dict):
        return {key: joined([part[key] for part in parts]) for key in parts[0]}
    return type(parts[0])(
        None if values[0] is None else joined(list(values)) for values in zip(*parts, strict=True)
    )


class RememberingNetworks(Networks):
    """Networks that load one only when it is asked something new."""

    def __init__(self, real: Networks, folder: Path) -> None:
        self.__dict__.update(real.__dict__)
        self._real, self._folder = real, folder

    def module(self, name: str, file: str | None = None, **options: Any) -> Any:
        return Remembered(
            lambda: self._real.module(name, file=file, **options),
            f"{name} {file} {sorted(options.items())}",
            self._folder,
        )


def remembering(stage: type[Any]) -> type[Stage]:
    """A stage class whose networks remember."""

    def setup(self: Any, device: str) -> None:
        with patch.object(Networks, "module"):  # nothing is loaded yet
            stage.setup(self, device)
        if isinstance(getattr(self, "networks", None), Networks):
            self.networks = RememberingNetworks(self.networks, Path(self.options.weights) / "answers")

    return type(stage.__name__, (stage,), {"setup": setup})


MODULES = (
    blend_stage,
    dnet_stage,
    enet_stage,
    lnet_stage,
    parity_analysis,
    parity_dubbing,
    recon3d_stage,
)
STAGES = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, type)
    and issubclass(value, Stage)
    and value.__module__ == module.__name__
    and hasattr(value, "name")
}
for _name, _stage in STAGES.items():
    globals()[_name] = remembering(_stage)


def remembering_engine(name: str) -> EngineConfig:
    """An engine with its neural stages replaced by those that remember."""
    config = load_engine(name)
    named = [entry.stage.rsplit(":", 1)[1] for entry in config.stages]
    stages = [
        entry.model_copy(update={"stage": f"{__name__}:{stage}"}) if stage in STAGES else entry
        for entry, stage in zip(config.stages, named, strict=True)
    ]
    return config.model_copy(update={"stages": stages})


def answers(home: Path) -> int:
    """Different questions so far."""
    return len(list((home / "answers").glob("*.pt")))
