"""Configuration of a training: `configs/training/*.yaml` held by typed models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from pipelines.engine.explain import explain, read_yaml
from pipelines.engine.profile_parts import Strict
from pipelines.errors import ConfigError
from retalk_models.training.averages import Schedule
from retalk_models.training.settings import LOSSES, Losses

KINDS = ("sync", "dnet", "lnet", "enet")
#: Settings that may differ when a training goes on.
MAY_CHANGE = (
    "steps",
    "checkpoint_minutes",
    "keep",
    "evaluate_every",
    "evaluate_batches",
    "patience",
    "loaders",
)


class TrainingConfig(Strict):
    """`configs/training/*.yaml`; sizes of batches are those of one worker."""

    kind: Literal["sync", "dnet", "lnet", "enet"]
    description: str = ""
    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(ge=1, description="items of a batch; of lnet and enet an item is five frames")
    windows: int = Field(
        default=1,
        ge=1,
        description="of sync: windows of an item, all of one clip, each with every sound of them; 1: one pair, right or wrong",
    )
    accumulate: int = Field(default=1, ge=1, description="batches of a step")
    precision: Literal["float32", "bfloat16"] = "float32"
    rate: Schedule = Schedule()
    critic_rate: float = Field(default=1e-4, gt=0, description="learning rate of the critic")
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(
        default=1e-8, gt=0, description="Adam's, added to the root of the mean square gradient"
    )
    clip: float = Field(default=10.0, gt=0, description="norm of the gradient above which it is scaled down")
    average: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the moving average of the weights"
    )
    network: dict[str, Any] = Field(
        default_factory=dict, description="options of the network; {}: the official sizes"
    )
    critic: dict[str, Any] | None = Field(
        default_factory=dict, description="options of the critic; null: none"
    )
    losses: dict[str, Any] = Field(default_factory=dict, description="weights of the losses")
    size: int = Field(default=0, ge=0, description="side of the pictures; 0: the network's own")
    seed: int = 0
    evaluate_every: int = Field(default=1000, ge=1, description="steps between evaluations on held-out clips")
    evaluate_batches: int = Field(default=16, ge=1)
    patience: int = Field(
        default=0, ge=0, description="evaluations without a better loss, then it stops; 0: never"
    )
    stop_below: float = Field(default=0.0, ge=0, description="evaluation loss at which it stops; 0: none")
    checkpoint_minutes: float = Field(default=15.0, gt=0)
    keep: int = Field(default=2, ge=1, description="checkpoints that are kept")
    bad_steps: int = Field(
        default=20, ge=1, description="steps in a row that are not finite, then it gives up"
    )
    loaders: int = Field(default=0, ge=0, description="processes of a worker that read and decode; 0: itself")

    @property
    def loss_weights(self) -> Losses:
        """The typed weights of the losses."""
        return TypeAdapter(LOSSES[self.kind]).validate_python(self.losses)

    @property
    def side(self) -> int:
        """Side of the pictures in pixels."""
        return self.size or {"sync": 96, "dnet": 256, "lnet": 96, "enet": 384}[self.kind]


def load_config(kind: str, file: str = "", changes: Sequence[str] = ()) -> TrainingConfig:
    """Read a configuration.

    Args:
        kind: "sync", "dnet", "lnet" or "enet".
        file: YAML in place of ``configs/training/KIND.yaml``.
        changes: ``KEY=VALUE``, VALUE as YAML; a dot leads into a mapping (``losses.sync=0.05``).

    Raises:
        ConfigError: a file or change is wrong; names the file, the key and what is allowed.
    """
    where = file or f"configs/training/{kind}.yaml"
    if file:
        try:
            content = read_yaml(Path(file).read_bytes(), file)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    else:
        content = read_yaml((resources.files("configs") / "training" / f"{kind}.yaml").read_bytes(), where)
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: must be a mapping of settings")
    values: dict[str, Any] = {"kind": kind, **content}
    if values["kind"] != kind:
        raise ConfigError(f"{where}: kind: is {values['kind']}, and the command trains {kind}")
    for change in changes:
        _change(values, change)
        where = f"{file or f'configs/training/{kind}.yaml'} with --set"
    try:
        config = TrainingConfig.model_validate(values)
        _ = config.loss_weights
    except ValidationError as error:
        top = LOSSES[kind] if error.title in {one.__name__ for one in LOSSES.values()} else TrainingConfig
        raise ConfigError(explain(error, where, top)) from error
    return config


def _change(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {change}: must be KEY=VALUE, such as losses.sync=0.05")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: VALUE is not YAML") from error
    *folders, last = key.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {change}: {folder!r} holds no keys")
    # YAML 1.1 takes 1e-4, without a dot, for a text.
    values[last] = _number(value) if isinstance(value, str) else value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ and must not when a training goes on."""
    return sorted(k for k in old.keys() | new.keys() if k not in MAY_CHANGE and old.get(k) != new.get(k))
