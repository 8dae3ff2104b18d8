"""Entry points with which other distributions extend retalk: found by name, loaded when they are asked for.

A broken or ambiguous entry point is an error of that name alone. How to write one: docs/extending.md.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.resources
import sys
from dataclasses import dataclass
from typing import Any

#: Groups of entry points.
ENGINES, METRICS, COMMANDS = "retalk.engines", "retalk.metrics", "retalk.commands"
MODEL_FILES, STORAGE_RULES = "retalk.model_files", "retalk.storage_rules"
GROUPS = (ENGINES, METRICS, COMMANDS, MODEL_FILES, STORAGE_RULES)


class PluginError(ValueError):
    """An entry point cannot be used; the message names its distribution and says why."""


@dataclass(frozen=True)
class Plugin:
    """One entry point: its group and name, its value (``module:attribute``), its distribution with version."""

    group: str
    name: str
    value: str
    distribution: str

    def __str__(self) -> str:
        return f"{self.name!r} ({self.group}) of {self.distribution}"

    @property
    def module(self) -> str:
        return self.value.partition(":")[0].strip()

    @property
    def is_resource(self) -> bool:
        """True if the value names a YAML file in a package: ``package:file.yaml``."""
        return self.value.endswith((".yaml", ".yml"))

    def load(self) -> Any:
        """Import the module and return the attribute.

        Raises:
            PluginError: that fails, whatever the reason.
        """
        try:
            return importlib.metadata.EntryPoint(self.name, self.value, self.group).load()
        except Exception as problem:
            raise self.error(f"{type(problem).__name__}: {problem}") from problem

    def read(self) -> str:
        """Return the text of the YAML file that the value names.

        Raises:
            PluginError: the package or the file is missing.
        """
        file = self.value.partition(":")[2].strip()
        try:
            return (importlib.resources.files(self.module) / file).read_text(encoding="utf-8")
        except Exception as problem:
            raise self.error(f"{type(problem).__name__}: {problem}") from problem

    def error(self, reason: str) -> PluginError:
        """Return an error about this entry point."""
        return PluginError(
            f"entry point {self} ({self.value}) cannot be used: {reason}; "
            f"mend that package, or uninstall {self.distribution.partition(' ')[0]}"
        )


def plugins(group: str) -> dict[str, list[Plugin]]:
    """Return the entry points of a group by name, sorted; more than one of a name is a clash (`plugin`)."""
    return _found(tuple(sys.path)).get(group, {})


def plugin(group: str, name: str, ours: str = "") -> Plugin | None:
    """Return the entry point of that name; None where there is none.

    Args:
        group: see `GROUPS`.
        name: of the entry point.
        ours: the distribution that has the name already, "" for none.

    Raises:
        PluginError: several distributions have it.
    """
    found = plugins(group).get(name, [])
    names = [*([ours] if ours and found else []), *(one.distribution for one in found)]
    if len(names) > 1:
        raise PluginError(
            f"{name!r} ({group}) is ambiguous: {' and '.join(names)} each bring one; uninstall one of them"
        )
    return found[0] if found else None


@functools.lru_cache(maxsize=4)
def _found(path: tuple[str, ...]) -> dict[str, dict[str, list[Plugin]]]:
    """Entry points by group and name. Every distribution on the path is asked.

    `importlib.metadata.entry_points` stops at the first distribution of a name, which in a checkout may be
    an old egg-info. The same value twice is one entry point, and of one distribution the first found counts.
    """
    del path
    groups: dict[str, dict[str, list[Plugin]]] = {group: {} for group in GROUPS}
    for one in importlib.metadata.distributions():
        # Most have none: their text is looked at before it is taken apart.
        if "retalk." not in (one.read_text("entry_points.txt") or ""):
            continue
        for entry in one.entry_points:
            if entry.group not in groups:
                continue
            made = Plugin(entry.group, entry.name, entry.value, f"{one.name} {one.version}")
            known = groups[entry.group].setdefault(entry.name, [])
            if all(one.name != other.distribution.rpartition(" ")[0] for other in known) and all(
                made.value != other.value for other in known
            ):
                known.append(made)
    return {
        group: {name: sorted(found[name], key=str) for name in sorted(found)}
        for group, found in groups.items()
    }
