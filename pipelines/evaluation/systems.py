"""Systems of a sweep by name: engines, their variants of the paper's ablation, and the source itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.engine.config import known_names, load_engine
from pipelines.engine.engine import Engine
from pipelines.engine.model_files import check_weights, wanted_files
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import ConfigError, UsageError
from pipelines.state.content_keys import model_digests
from retalk_models.registry.catalog import load_catalog

#: The system that dubs nothing: the source video with its own sound, the row of the truth.
SOURCE = "source"
#: Options of stages.
Options = Mapping[str, Mapping[str, Any]]
#: Variants of engines, rows of Table 3 of VideoReTalking: options that make them.
VARIANTS: dict[str, dict[str, Options]] = {
    "retalk": {
        "no-dnet": {"dnet": {"enabled": False}},
        "no-enet": {"enet": {"enabled": False}, "dnet": {"identity": False}},
        "lnet": {"dnet": {"enabled": False, "identity": False}, "enet": {"enabled": False}},
    }
}
#: Rows of that table that options do not make, and what they would need.
NEED_OTHERS = {
    "retalk:no-cross-attention": "an LNet.pth that was trained without cross-attention (Table 3, first row): its authors have published "
    "the full L-Net only, and options cannot stand in for training",
}
#: Where model files come from, as results are marked: the catalogue's, others (made up, fine-tuned), none at all.
Weights = Literal["official", "recipe", "none"]


@dataclass(frozen=True)
class System:
    """A system of a sweep.

    Attributes:
        name: as it was asked for, such as ``retalk:no-dnet``.
        engine: what dubs; None for the source, and for results that somebody else has made.
        options: of the engine's stages, those of the variant and of the user.
    """

    name: str
    engine: str | None
    options: Options

    @property
    def folder(self) -> str:
        """Name of its folders."""
        return self.name.replace(":", "-")

    def resolved(self) -> Engine:
        """The engine with its options and without metrics.

        Raises:
            ConfigError: it or an option is unknown.
        """
        assert self.engine is not None
        return resolve_engine(self.engine, {**self.options, "metrics": {"on": "none"}})


def parse_systems(text: str, settings: Options) -> list[System]:
    """Read ``retalk,exemplar,retalk:no-dnet,source``.

    Args:
        text: names with commas; an engine's may be the path of a .yaml file.
        settings: ``{stage: {option: value}}`` for the systems that have the stage.

    Raises:
        UsageError: an unknown name, a variant that needs other weights, a setting that no system has.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--systems: name at least one system")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--systems: {twice} is named twice")
    if "metrics" in settings:
        raise UsageError("--set metrics.on: a sweep's metrics are chosen by --metrics")
    systems, used = [], set[str]()
    for name in names:
        if name == SOURCE:
            systems.append(System(name, None, {}))
            continue
        engine, variant = _parts(name)
        stages = Engine(load_engine(engine)).names
        mine = {stage: dict(values) for stage, values in settings.items() if stage in stages}
        used |= mine.keys()
        for stage, values in variant.items():
            mine[stage] = {**values, **mine.get(stage, {})}
        system = System(
            name if not engine.endswith((".yaml", ".yml")) else load_engine(engine).name, engine, mine
        )
        system.resolved()
        systems.append(system)
    if unknown := sorted(settings.keys() - used):
        raise UsageError(
            f"--set {unknown[0]}: none of the systems {', '.join(names)} has a stage of this name"
        )
    return systems


def _parts(name: str) -> tuple[str, Options]:
    """Engine and options of a system's name."""
    if name.endswith((".yaml", ".yml")):
        return name, {}
    if name in NEED_OTHERS:
        raise UsageError(f"--systems: {name} needs {NEED_OTHERS[name]}")
    engine, colon, variant = name.partition(":")
    variants = VARIANTS.get(engine, {})
    if engine in known_names("engines") and (not colon or variant in variants):
        return engine, variants.get(variant, {})
    known = [SOURCE, *known_names("engines"), *(f"{e}:{v}" for e, found in VARIANTS.items() for v in found)]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(f"--systems: {name!r} is unknown{hint}; there are {', '.join(known)}")


def check_systems(systems: Sequence[System]) -> None:
    """Look for the model files of all systems before the first one runs.

    Raises:
        UsageError: naming the systems with what they lack.
    """
    wrong = []
    for system in systems:
        if system.engine is None:
            continue
        try:
            check_weights(system.resolved())
        except ConfigError:
            raise
        except UsageError as problem:
            wrong.append(f"system {system.name}: {problem}")
    if wrong:
        raise UsageError("\n".join(wrong))


def system_digests(system: System) -> tuple[dict[str, str], Weights]:
    """Digests of a system's model files by name, and where they come from."""
    if system.engine is None:
        return {}, "none"
    found: dict[str, str] = {}
    origins: list[Weights] = []
    for home, names in wanted_files(system.resolved()).items():
        digests = model_digests(names, home)
        found |= digests
        origins.append(origin_of(digests, home))
    return found, "none" if not origins else "recipe" if "recipe" in origins else "official"


def origin_of(digests: Mapping[str, str], home: str) -> Weights:
    """Tell the catalogue's files from others.

    Args:
        digests: SHA-256 by file name.
        home: they lie in; "" for the usual one, which holds the catalogue's files to their digests.
    """
    if not home:
        return "official"
    pinned = {name: entry.sha256 for name, entry in load_catalog().files.items()}
    return "official" if all(pinned.get(name) == digest for name, digest in digests.items()) else "recipe"
