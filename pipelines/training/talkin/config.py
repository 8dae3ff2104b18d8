"""Configuration of a training of talkin, `configs/training/talkin.yaml`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipelines.errors import ConfigError

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class ExpressionConfig:
    """Training of `retalk_models.talkin.expression`.

    Attributes:
        steps, batch, rate: updates, windows in each, learning rate of Adam.
        frames: of a window.
        dim, state, num_layers, num_maps, rank: sizes of the network.
        motion, points: weights, see `retalk_models.talkin.losses.expression_loss`.
        adversary: weight of the guess who speaks; 0 without it.
    """

    steps: int = 20000
    batch: int = 16
    frames: int = 75
    rate: float = 5e-4
    dim: int = 96
    state: int = 128
    num_layers: int = 2
    num_maps: int = 8
    rank: int = 4
    motion: float = 1.0
    points: float = 1.0
    adversary: float = 0.05


@dataclass(frozen=True, config=STRICT)
class RendererConfig:
    """Training of `retalk_models.talkin.renderer`.

    Attributes:
        steps, batch, rate: updates, pictures in each, learning rate of Adam.
        side: of the crops, pixels, a multiple of 2 ** num_levels.
        channels, num_levels, num_frames: sizes of the network.
        mouth: weight of the mouth's pixels beside the others.
        edges: weight of slopes beside values.
        critic, critic_from: weight of the temporal critic, and the step from which it counts; 0 without it.
    """

    steps: int = 100000
    batch: int = 8
    rate: float = 2e-4
    side: int = 128
    channels: int = 32
    num_levels: int = 4
    num_frames: int = 3
    mouth: float = 4.0
    edges: float = 1.0
    critic: float = 0.02
    critic_from: int = 20000


@dataclass(frozen=True, config=STRICT)
class TalkinConfig:
    """A whole training.

    Attributes:
        factors: how expression is measured; auto: by coefficients where the data set has them, else by landmarks.
        parameters: components of landmarks.
        seed: of initial weights and of the order of the data.
        checkpoint_minutes: between two checkpoints.
        expression, renderer: the two networks.
    """

    factors: Literal["auto", "landmarks", "coefficients"] = "auto"
    parameters: int = 12
    seed: int = 0
    checkpoint_minutes: float = 10.0
    expression: ExpressionConfig = dataclasses.field(default_factory=ExpressionConfig)
    renderer: RendererConfig = dataclasses.field(default_factory=RendererConfig)


_CONFIG = TypeAdapter(TalkinConfig)


def load_config(file: str = "", changes: Sequence[str] = ()) -> TalkinConfig:
    """Read a configuration.

    Args:
        file: a YAML file; "": the shipped one.
        changes: ``KEY=VALUE`` on top, nested keys with dots.

    Raises:
        ConfigError: the file, a key or a value is wrong.
    """
    shipped = resources.files("configs").joinpath("training", "talkin.yaml")
    where = file or "configs/training/talkin.yaml"
    try:
        values = yaml.safe_load(Path(file).read_text() if file else shipped.read_text()) or {}
    except (OSError, yaml.YAMLError) as problem:
        raise ConfigError(f"{where}: cannot be read ({problem})") from problem
    for change in changes:
        key, mark, text = change.partition("=")
        *path, last = key.strip().split(".")
        if not mark or not last:
            raise ConfigError(f"--set {change}: must be KEY=VALUE, such as renderer.side=96")
        inner = values
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {change}: {part} has no parts")
        inner[last] = yaml.safe_load(text)
    return parse_config(values, where)


def parse_config(values: Mapping[str, Any], where: str) -> TalkinConfig:
    """Check values.

    Raises:
        ConfigError: names the first key that is wrong.
    """
    try:
        config = _CONFIG.validate_python(values)
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key}: {first['msg']}") from problem
    renderer = config.renderer
    if renderer.side % 2**renderer.num_levels or renderer.channels % 8 or renderer.num_frames % 2 == 0:
        raise ConfigError(
            f"{where}: renderer: side must be a multiple of {2**renderer.num_levels}, channels of 8, and num_frames odd"
        )
    return config


def plain(config: TalkinConfig) -> dict[str, Any]:
    """The configuration as JSON."""
    return dataclasses.asdict(config)
