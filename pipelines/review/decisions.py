"""Decisions that the review page has exported, read again: `retalk run ... --redo decisions.json`."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from operators.storage.errors import StorageError, refusal
from operators.storage.files import exists
from operators.storage.identity import identity
from operators.storage.redact import redact
from pipelines.errors import UsageError
from pipelines.state.run_directory import read_json


def titles_asked_for(redo: Sequence[str], run_dir: str) -> tuple[list[str], list[str]]:
    """Part what ``--redo`` names: ids of titles, and the titles that are rejected in files of decisions.

    Args:
        redo: ids, and paths or URLs that end in ``.json``.
        run_dir: the run that the decisions must be about.

    Raises:
        UsageError: a file is missing, is none of the review page's, is about another run, or nothing is rejected in it.
    """
    rejected = [title for name in redo if name.endswith(".json") for title in _rejected(name, run_dir)]
    return [name for name in redo if not name.endswith(".json")], list(dict.fromkeys(rejected))


def _rejected(file: str, run_dir: str) -> list[str]:
    content = _content(file)
    decisions = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(decisions, list) or not all(isinstance(one, dict) for one in decisions):
        raise UsageError(
            f"--redo {file}: is no file of decisions; the review page exports one (Export decisions, JSON)"
        )
    run = content.get("run") if isinstance(content, dict) else None
    if isinstance(run, str) and not _is_same_run(run, run_dir):
        raise UsageError(
            f"--redo {file}: holds decisions about the run {run}, not about {run_dir}; export those of its own page "
            "(retalk report), or give that run directory"
        )
    titles = [
        one["title"]
        for one in decisions
        if one.get("decision") == "rejected" and isinstance(one.get("title"), str)
    ]
    if not titles:
        raise UsageError(f"--redo {file}: nothing is rejected in it")
    return titles


def _content(file: str) -> Any:
    try:
        content = read_json(file)
        missing = content is None and not exists(file)
    except OSError as problem:
        raise UsageError(f"--redo {file}: cannot be read ({refusal(problem)})") from problem
    if missing:
        raise UsageError(
            f"--redo {file}: no such file; name decisions that the review page has exported, or ids of titles"
        )
    return content


def _is_same_run(run: str, run_dir: str) -> bool:
    """True for another spelling of a run directory, and for one of the same name where the first is not there: it was
    moved, or the page was made on another machine.
    """
    if identity(run) == identity(redact(run_dir)):
        return True
    if posixpath.basename(run.rstrip("/")) != posixpath.basename(redact(run_dir).rstrip("/")):
        return False
    try:
        return not exists(run)
    except (StorageError, ValueError):
        return True
