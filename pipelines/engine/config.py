"""Engines and profiles: YAML files held by typed models, with errors that name the file, the key and the
allowed values.

An engine lists the stages (`configs/engines/*.yaml`); a profile lists the pools that run them on a kind of
machine (`configs/profiles/*.yaml`). Any profile serves any engine: see `ProfileConfig.place`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from pipelines.engine.explain import explain, read_yaml
from pipelines.engine.foreign import foreign_engine, foreign_engines
from pipelines.engine.profile_parts import (
    AssembleConfig,
    CacheConfig,
    EnginePools,
    LabelConfig,
    LimitsConfig,
    NodeGroup,
    PoolConfig,
    ProvenanceConfig,
    Rates,
    ReviewConfig,
    RightsConfig,
    Strict,
    WatermarkConfig,
)
from pipelines.errors import ConfigError

#: IPTC's kinds of pictures that are put together: of what no learned network draws, and of what one does.
SourceType = Literal["compositeSynthetic", "compositeWithTrainedAlgorithmicMedia"]


class StageConfig(Strict):
    """One stage of an engine: where its class is, its options, and which well-known stage it resembles in
    cost.

    Profiles place stages by name. A stage that a profile does not name runs where the profile puts the stage
    named by `like`.
    """

    stage: str = Field(description="module:Class", pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field(default_factory=dict)
    like: str | None = Field(default=None, description="name of a stage of another engine that profiles know")


class SegmentRule(Strict):
    """Rule by which shots are cut into segments.

    ``shot``: a whole shot, or equal parts of at most `max_seconds` of it: fixed by the engine, so that results
    do not depend on the profile. ``frames``: equal parts of at most the profile's `segment_frames`, for
    engines whose results do not depend on it.
    """

    kind: Literal["shot", "frames"] = "frames"
    max_seconds: float = Field(default=60.0, gt=0)


class EngineConfig(Strict):
    """`configs/engines/*.yaml`."""

    name: str
    description: str = ""
    segments: SegmentRule = SegmentRule()
    detect_shots: bool = True
    find_faces: bool = Field(
        default=True, description="look for the person to dub, and refuse titles without a face"
    )
    auto: int | None = Field(
        default=None,
        description="place among the engines that `auto` tries, lowest first; None: it is never taken",
    )
    stages: list[StageConfig] = Field(min_length=1)
    draws: SourceType = Field(
        default="compositeWithTrainedAlgorithmicMedia",
        description="IPTC digital source type of its pictures, for their provenance",
    )
    metrics: list[str] | None = Field(
        default=None, description="names, or module:Class, of metrics; None: those that are on by default"
    )


class ProfileConfig(Strict):
    """`configs/profiles/*.yaml`."""

    name: str
    description: str = ""
    segment_frames: int = Field(default=250, ge=1)
    store_mib: int | None = Field(
        default=None, ge=80, description="object store of a Ray that we start; None: Ray's default"
    )
    block_frames: int | None = Field(
        default=None, ge=1, description="short segments travel together up to so many; None: segment_frames"
    )
    watchdog_seconds: float = Field(default=1800, gt=0)
    plan: PoolConfig = PoolConfig(name="plan", size=1)
    assemble: AssembleConfig = AssembleConfig()
    pools: list[PoolConfig] = Field(min_length=1)
    default: str | None = Field(
        default=None, description="pool of the stages that no pool names; None: the pool that lists none"
    )
    engines: dict[str, EnginePools] = Field(default_factory=dict)
    limits: LimitsConfig = LimitsConfig()
    cache: CacheConfig = CacheConfig()
    review: ReviewConfig = ReviewConfig()
    rights: RightsConfig = RightsConfig()
    label: LabelConfig = LabelConfig()
    provenance: ProvenanceConfig = ProvenanceConfig()
    watermark: WatermarkConfig = WatermarkConfig()
    nodes: list[NodeGroup] = Field(
        default_factory=list, description="what the machines are; none: this machine"
    )
    currency: str = "USD"
    rates: dict[str, Rates] = Field(
        default_factory=dict, description="by engine, written by `retalk profile`"
    )

    @model_validator(mode="after")
    def _names(self) -> ProfileConfig:
        for where, pools in (
            ("pools", self.pools),
            *((f"engines.{k}.pools", v.pools) for k, v in self.engines.items()),
        ):
            names = [pool.name for pool in pools]
            stages = [stage for pool in pools for stage in pool.stages]
            for what, values in (("pool", names), ("stage", stages)):
                if twice := sorted({v for v in values if values.count(v) > 1}):
                    raise ValueError(f"{where}: {what} {twice[0]!r} is named twice")
        groups = [group.name for group in self.nodes]
        if twice := sorted({name for name in groups if groups.count(name) > 1}):
            raise ValueError(f"nodes: group {twice[0]!r} is named twice")
        if self.default is not None and self.default not in [pool.name for pool in self.pools]:
            raise ValueError(f"default: no pool is named {self.default!r}")
        return self

    def pools_of(self, engine: str) -> list[PoolConfig]:
        """Return the pools that an engine's stages are placed in."""
        return self.engines[engine].pools if engine in self.engines else self.pools

    def place(
        self, engine: str, stages: Sequence[str], like: Mapping[str, str] | None = None
    ) -> list[tuple[PoolConfig, list[str]]]:
        """Assign stages to pools, in the engine's order; neighbours in the same pool are fused into one
        actor.

        A stage goes to the pool that names it, else to the one that names the stage it is `like`, else to
        `default` (in an engine's own section, and where there is no default: to the last pool that lists no
        stages).

        Args:
            engine: the engine's name, for a section of its own.
            stages: names of the engine's stages in order.
            like: for some stages, the name of a stage that is placed alike (`StageConfig.like`).

        Raises:
            ConfigError: no pool takes a stage, or a pool's stages do not follow each other in this engine.
        """
        pools = self.pools_of(engine)
        rest = next((pool for pool in reversed(pools) if not pool.stages), None)
        if engine not in self.engines and self.default is not None:
            rest = next(pool for pool in pools if pool.name == self.default)
        placed: list[tuple[PoolConfig, list[str]]] = []
        for stage in stages:
            named = (name for name in (stage, (like or {}).get(stage)) if name)
            pool = next((pool for name in named for pool in pools if name in pool.stages), rest)
            if pool is None:
                raise ConfigError(
                    f"profile {self.name}: no pool runs stage {stage!r} of engine {engine!r} (the pools run "
                    f"{', '.join(name for pool in pools for name in pool.stages)}); write pools for it under "
                    f"engines.{engine}.pools of the profile, or in the engine's file `like:` and one of these beside the stage"
                )
            if placed and placed[-1][0] is pool:
                placed[-1][1].append(stage)
            elif any(before is pool for before, _ in placed):
                raise ConfigError(
                    f"profile {self.name}: pool {pool.name!r} would run stage {stage!r} of engine {engine!r} apart from its others "
                    f"(order: {', '.join(stages)}); give it a pool of its own in engines.{engine}.pools"
                )
            else:
                placed.append((pool, [stage]))
        return placed


Model = TypeVar("Model", bound=BaseModel)
#: Options that change sections of a profile, for messages; other sections have their own names.
SAID = {"limits": "--limit", "review": "--set: review"}


def names(kind: Literal["engines", "profiles"]) -> list[str]:
    """Names of the configurations that are shipped."""
    folder = resources.files("configs") / kind
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def known_names(kind: Literal["engines", "profiles"]) -> list[str]:
    """Names of the configurations that are shipped, and of the engines of other distributions."""
    return sorted({*names(kind), *(foreign_engines() if kind == "engines" else ())})


def _read(kind: Literal["engines", "profiles"], name_or_path: str) -> tuple[str, bytes]:
    """Return the place of a configuration, for messages, and its content."""
    if "://" in name_or_path:
        raise ConfigError(
            f"{name_or_path}: configuration is read from files of this machine, no URLs; download it"
        )
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the path of a .yaml file")
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        return str(path), path.read_bytes()
    if name_or_path not in names(kind):
        known = known_names(kind)
        near = difflib.get_close_matches(name_or_path, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(
            f"{kind[:-1]} {name_or_path!r} is unknown{hint}: choose {', '.join(known)} or give the path of a .yaml file"
        )
    return f"configs/{kind}/{name_or_path}.yaml", (
        resources.files("configs") / kind / f"{name_or_path}.yaml"
    ).read_bytes()


def _load(kind: Literal["engines", "profiles"], name_or_path: str, model: type[Model]) -> Model:
    where, content = _read(kind, name_or_path)
    return _validated(read_yaml(content, where), where, model)


def _validated(data: Any, where: str, model: type[Model]) -> Model:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: must be a mapping with the keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, where, model)) from error


def load_engine(name_or_path: str) -> EngineConfig:
    """Read an engine by name (`configs/engines`, or the entry point of another distribution) or from a .yaml
    file.

    Raises:
        ConfigError: unknown name, a wrong file, or an entry point that is broken or of a name that is taken.
    """
    is_path = name_or_path.endswith((".yaml", ".yml"))
    found = None if is_path else foreign_engine(name_or_path, name_or_path in names("engines"))
    if found is None:
        return _load("engines", name_or_path, EngineConfig)
    where, data = found
    config = data if isinstance(data, EngineConfig) else _validated(data, where, EngineConfig)
    if config.name != name_or_path:
        raise ConfigError(
            f"{where}: name: must be {name_or_path!r}, as the entry point's; got {config.name!r}"
        )
    return config


def load_profile(name_or_path: str) -> ProfileConfig:
    """Read a profile by name (`configs/profiles`) or from a .yaml file.

    Raises:
        ConfigError: unknown name, or a wrong file.
    """
    return _load("profiles", name_or_path, ProfileConfig)


def with_sections(profile: ProfileConfig, **changed: Mapping[str, Any] | None) -> ProfileConfig:
    """Return a profile with other values in some of its sections.

    Args:
        profile: is left as it is.
        changed: by section, such as ``limits``: values by name; None: none.

    Raises:
        ConfigError: an unknown name or a wrong value.
    """
    for section, values in changed.items():
        if not values:
            continue
        if not isinstance(values, Mapping):
            raise ConfigError(f"{section}: {values!r} is not a mapping of its values by name")
        before: BaseModel = getattr(profile, section)
        try:
            after = type(before).model_validate({**before.model_dump(), **values})
        except ValidationError as error:
            raise ConfigError(explain(error, SAID.get(section, section), type(before))) from error
        profile = profile.model_copy(update={section: after})
    return profile
