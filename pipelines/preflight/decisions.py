"""Options that depend on the machine, decided once for a run by its driver: "auto" for what is installed.

What was decided stands in the options that planners and workers get, and so in every content key and record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine, StageSpec
from pipelines.errors import ConfigError
from pipelines.manifest.titles import Title, merged


def decided(engine: Engine, titles: Sequence[Title], profile: ProfileConfig) -> tuple[Engine, list[Title]]:
    """Decide what stages leave to the machine (`operators.stage.Stage.decided`).

    Args:
        engine: with the options of all titles.
        titles: with their own.
        profile: says on which device each stage runs.

    Returns:
        The engine and the titles with what was decided among their options; the engine's notes tell what users should know of it.
        A title that asks for what is not installed has an error.

    Raises:
        ConfigError: the engine's options ask for what is not installed; names the option, and the command that installs it.
    """
    placed = profile.place(engine.name, engine.names, engine.like)
    devices = {stage: pool.device for pool, stages in placed for stage in stages}
    found, stages, notes = {}, [], []
    for spec, entry in zip(engine.stages, engine.config.stages, strict=True):
        try:
            found[spec.name] = vars(spec.stage.decided(spec.options, devices[spec.name]))
            notes.append(spec.stage.decision_note(spec.options, devices[spec.name]))
        except ImportError as problem:
            raise ConfigError(f"engine {engine.name}: {spec.name}: {problem}") from problem
        changed = _differing(vars(spec.options), found[spec.name])
        stages.append(entry.model_copy(update={"options": {**entry.options, **changed}}))
    if all(entry is now or entry == now for entry, now in zip(engine.config.stages, stages, strict=True)):
        built = engine
    else:
        built = Engine(engine.config.model_copy(update={"stages": stages}))
        built.notes = [*engine.notes, *filter(None, notes)]
    return built, [_of_title(title, engine.stages, found, devices) for title in titles]


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if before[name] != value}


def _of_title(
    title: Title,
    stages: Sequence[StageSpec],
    usual: Mapping[str, Mapping[str, Any]],
    devices: Mapping[str, str],
) -> Title:
    """A title whose own options, beside the engine's that were decided (``usual``), are decided as well."""
    more: dict[str, dict[str, Any]] = {}
    for spec in stages:
        own = title.options.get(spec.name)
        if not own:
            continue
        asked = dataclasses.replace(spec.options, **own)
        try:
            now = vars(spec.stage.decided(asked, devices[spec.name]))
        except ImportError as problem:
            where = f"{title.where or title.id}: {spec.name}"
            return dataclasses.replace(title, error=title.error or f"{where}: {problem}")
        more[spec.name] = _differing({**usual[spec.name], **own}, now)
    return dataclasses.replace(title, options=merged(title.options, more)) if any(more.values()) else title
