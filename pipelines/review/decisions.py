"""Decisions that the review page has exported, read again: `retalk run ... --redo decisions.json`."""

from __future__ import annotations

from collections.abc import Sequence

from operators.storage.errors import refusal
from pipelines.errors import UsageError
from pipelines.state.run_directory import read_json


def titles_asked_for(only: Sequence[str], redo: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Titles for ``--only`` and ``--redo``. Where ``redo`` names a file of decisions, nothing is worked on but what is rejected
    in it and named beside it.

    Raises:
        UsageError: see `titles_to_redo`.
    """
    if not any(name.endswith(".json") for name in redo):
        return only, redo
    rejected = titles_to_redo(redo)
    return only or rejected, rejected


def titles_to_redo(names: Sequence[str]) -> list[str]:
    """Replace files of decisions by the titles that are rejected there.

    Args:
        names: ids of titles, and paths or URLs that end in ``.json``.

    Raises:
        UsageError: a file is missing or is none of the review page's, or nothing is rejected in it.
    """
    found: list[str] = []
    for name in names:
        found += _rejected(name) if name.endswith(".json") else [name]
    return list(dict.fromkeys(found))


def _rejected(file: str) -> list[str]:
    try:
        content = read_json(file)
    except OSError as problem:
        raise UsageError(f"--redo {file}: cannot be read ({refusal(problem)})") from problem
    decisions = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(decisions, list) or not all(isinstance(one, dict) for one in decisions):
        raise UsageError(
            f"--redo {file}: is no file of decisions; the review page exports one (Export decisions, JSON)"
        )
    titles = [
        one["title"]
        for one in decisions
        if one.get("decision") == "rejected" and isinstance(one.get("title"), str)
    ]
    if not titles:
        raise UsageError(f"--redo {file}: nothing is rejected in it")
    return titles
