"""An engine by name, path or configuration; `auto` chooses one that can run here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.engine.config import EngineConfig, load_engine
from pipelines.engine.engine import Engine
from pipelines.engine.metrics import DEFAULT, OPTION, chosen_metrics
from pipelines.engine.model_files import check_weights
from pipelines.errors import ConfigError, UsageError
from retalk_models.registry.registry import available


def resolve_engine(
    engine: str | EngineConfig, options: Mapping[str, Mapping[str, Any]] | None = None
) -> Engine:
    """Return an engine by name, path or configuration, with engine-wide options on top of its own and the metrics
    that are measured with it: ``options["metrics"]["on"]``, see `chosen_metrics`.

    Raises:
        ConfigError: it is unknown, its stages cannot be imported, or an option is wrong.
    """
    wanted: dict[str, dict[str, Any]] = {stage: dict(values) for stage, values in (options or {}).items()}
    section, option = OPTION
    asked = wanted.pop(section, {})
    if unknown := sorted(asked.keys() - {option}):
        raise ConfigError(f"--set: {section}: {unknown[0]}: unknown option. Allowed: {option}")
    if engine == "auto":
        chosen = "retalk" if _networks_are_here(wanted) else "exemplar"
        return resolve_engine(chosen, {**wanted, section: asked})
    if engine == "retalk":
        try:
            Engine(load_engine("retalk"))
        except ConfigError as problem:
            raise ConfigError(
                f"engine retalk cannot run in this version ({problem}); use --engine exemplar, which needs no weights"
            ) from problem
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


def _networks_are_here(options: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether the engine `retalk` can run: its stages are part of this version, and its weights are in
    the cache or at the places that options name.
    """
    if not available("lnet") and not any(values.get("weights") for values in options.values()):
        return False  # decided without importing torch, which takes seconds
    try:
        check_weights(resolve_engine("retalk", options))
    except UsageError:
        return False
    return True
