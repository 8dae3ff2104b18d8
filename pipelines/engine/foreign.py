"""Engines of other distributions: entry points of the group ``retalk.engines``."""

from __future__ import annotations

from typing import Any

from pipelines.engine.explain import read_yaml
from pipelines.errors import ConfigError
from retalk_models.installation import DISTRIBUTION
from retalk_models.plugins import ENGINES, PluginError, plugin, plugins


def foreign_engines() -> dict[str, str]:
    """Names of the engines of other distributions, with the distributions that bring them."""
    return {
        name: " and ".join(entry.distribution for entry in found) for name, found in plugins(ENGINES).items()
    }


def foreign_engine(name: str, shipped: bool) -> tuple[str, Any] | None:
    """Return an engine of another distribution as unchecked data, with the place that messages name.

    Args:
        name: of the engine and of its entry point.
        shipped: retalk has an engine of that name itself.

    Returns:
        None where no distribution has it. The data is a YAML file's content, or what a function returned.

    Raises:
        ConfigError: two distributions have the name, or the entry point is broken.
    """
    try:
        entry = plugin(ENGINES, name, DISTRIBUTION if shipped else "")
        if entry is None:
            return None
        where = f"engine {name} of {entry.distribution} ({entry.value})"
        if entry.is_resource:
            return where, read_yaml(entry.read().encode(), where)
        made = entry.load()
        return where, made() if callable(made) else made
    except PluginError as problem:
        raise ConfigError(str(problem)) from problem
    except ConfigError:
        raise
    except Exception as problem:
        raise ConfigError(f"{where}: {type(problem).__name__}: {problem}") from problem
