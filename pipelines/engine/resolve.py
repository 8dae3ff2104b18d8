"""An engine by name, path or configuration; `auto` chooses one that can run here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.engine.config import EngineConfig, load_engine, names
from pipelines.engine.engine import Engine
from pipelines.engine.metrics import DEFAULT, OPTION, REVIEW, chosen_metrics
from pipelines.engine.model_files import check_weights
from pipelines.errors import ConfigError, UsageError
from retalk_models.registry.registry import default_registry


def resolve_engine(
    engine: str | EngineConfig, options: Mapping[str, Mapping[str, Any]] | None = None
) -> Engine:
    """Return an engine by name, path or configuration, with engine-wide options on top of its own and the metrics
    that are measured with it: ``options["metrics"]["on"]``, see `chosen_metrics`. ``options["review"]`` belongs to the profile
    (`pipelines.engine.config.with_sections`) and is left alone.

    Raises:
        ConfigError: it is unknown, its stages cannot be imported, or an option is wrong.
    """
    wanted: dict[str, dict[str, Any]] = {stage: dict(values) for stage, values in (options or {}).items()}
    wanted.pop(REVIEW, None)
    section, option = OPTION
    asked = wanted.pop(section, {})
    if unknown := sorted(asked.keys() - {option}):
        raise ConfigError(f"--set: {section}: {unknown[0]}: unknown option. Allowed: {option}")
    if engine == "auto":
        return resolve_engine(_chosen(wanted), {**wanted, section: asked})
    config = load_engine(engine) if isinstance(engine, str) else engine
    built = Engine(config)
    if wanted:
        checked = built.check_overrides(wanted, "--set")
        stages = [
            entry.model_copy(update={"options": {**entry.options, **checked.get(spec.name, {})}})
            for entry, spec in zip(config.stages, built.stages)
        ]
        config = config.model_copy(update={"stages": stages})
    default = DEFAULT if config.metrics is None else config.metrics
    places, notes = chosen_metrics(built, asked.get(option, default))
    built = Engine(config.model_copy(update={"metrics": places}))
    built.notes = notes
    return built


def _chosen(options: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the first engine, by `EngineConfig.auto`, whose stages can be imported and whose model
    files are here; the last one runs everywhere.
    """
    ranks = {name: rank for name in names("engines") if (rank := load_engine(name).auto) is not None}
    *better, last = sorted(ranks, key=ranks.__getitem__)
    elsewhere = any(values.get("weights") for values in options.values())
    for name in better:
        # Its stages are not imported for nothing: those that need model files bring torch, which takes seconds.
        if not elsewhere and _lacks_all_files(name):
            continue
        try:
            check_weights(resolve_engine(name, options))
        except UsageError:
            continue
        return name
    return last


def _lacks_all_files(name: str) -> bool:
    """Return whether the catalogue has a group of model files for an engine, of which none is here."""
    registry = default_registry()
    files = [file for file, entry in registry.catalog.files.items() if name in entry.groups]
    return bool(files) and not any(map(registry.available, files))
