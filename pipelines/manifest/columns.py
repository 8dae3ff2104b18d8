"""Columns of a manifest that mean nothing, with the nearest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pipelines.manifest.files import DUB_KEYS, ROW_KEYS

#: What is added for a column to which no known one is near.
UNKNOWN = ""


def row_prefix(where: str) -> str:
    """Return what a message about a row begins with; empty where there is no place to name."""
    return f"{where}: " if where else ""


def unknown_columns(
    rows: Sequence[tuple[str, dict[str, Any] | str]], options: dict[str, list[str]]
) -> list[str]:
    """Columns of rows, and keys of their dubs, that mean nothing: a line for each with the first row and the
    number of others.

    Args:
        rows: of a manifest.
        options: names of the options of each stage.
    """
    known = [
        *ROW_KEYS,
        *DUB_KEYS,
        *options,
        *(f"{stage}.{name}" for stage, names in options.items() for name in names),
    ]
    first: dict[str, str] = {}
    count: dict[str, set[int]] = {}
    for number, (where, row) in enumerate(rows):
        if not isinstance(row, dict):
            continue
        dubs = row.get("dubs")
        nested = [
            (f"dubs.{n}: ", dub)
            for n, dub in enumerate(dubs if isinstance(dubs, list) else [], 1)
            if isinstance(dub, dict)
        ]
        for prefix, keys in (("", row), *nested):
            for key, value in keys.items():
                for name in (
                    [key]
                    if key not in options or not isinstance(value, dict)
                    else [f"{key}.{name}" for name in value]
                ):
                    if name not in known:
                        first.setdefault(str(name), f"{row_prefix(where)}{prefix}")
                        count.setdefault(str(name), set()).add(number)
    found = []
    for name, place in first.items():
        more = len(count[name]) - 1
        also = f" ({'all ' if more + 1 == len(rows) else ''}{more + 1} rows have it)" if more else ""
        found.append(f"{place}column {name!r} is unknown{_hint(name, known, options)}{also}")
    # The list of all columns once, and only where nothing nearer can be said.
    if any(_hint(name, known, options) == UNKNOWN for name in first):
        found.append(f"known columns: {', '.join(known)}")
    return found


def _hint(name: str, known: list[str], options: dict[str, list[str]]) -> str:
    """Return the hint about an unknown column."""
    if stages := [stage for stage, names in options.items() if name in names]:
        return f": did you mean {f'{stages[-1]}.{name}'!r}?"
    near = difflib.get_close_matches(name.lower(), known, 1, 0.6)
    if near and near[0] not in options:
        return f": did you mean {near[0]!r}?"
    stage = name.partition(".")[0]
    if stage in options:
        return f": stage {stage} has the options {', '.join(options[stage]) or '(none)'}"
    return UNKNOWN
