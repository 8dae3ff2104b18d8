"""Ownership of a run directory: state is written into a directory only if it is new, or known to be a run
directory of this program.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from operators.storage.errors import refusal
from operators.storage.files import filesystem, join
from pipelines.errors import UsageError
from pipelines.state.run_directory import parse_json, read_checksummed, read_json

#: Version of the run directory's format, in run.json.
FORMAT = 1
#: Names that a run writes into its directory.
STATE = (
    *("run.json", "titles.json", "lock.json", "plan.parquet", "ledger.jsonl", "ledger.parquet"),
    *("plans", "segments", "receipts", "records", "made", "runs", "traces", "earlier"),
)
#: Names that other commands and the analysis cache write into it.
OTHERS = ("analysis", "forecast.json", "report")
#: Files looked at in search of one that is ours.
LOOKED_AT = 20


class NotARunDirectoryError(UsageError):
    """The directory holds foreign files under names that a run would overwrite."""


def run_metadata(**values: Any) -> dict[str, Any]:
    """Content of run.json."""
    return {"retalk": FORMAT, **values}


def read_run_metadata(url: str) -> dict[str, Any] | None:
    """Return the content of run.json; None where it is missing, damaged or not ours.

    Raises:
        UsageError: the directory must not be looked into.
    """
    try:
        found = read_json(join(url, "run.json"))
    except PermissionError as problem:
        raise UsageError(f"{url}: cannot be read ({refusal(problem)}); choose another folder") from problem
    return found if isinstance(found, dict) and isinstance(found.get("retalk"), int) else None


def require_run_metadata(url: str) -> dict[str, Any]:
    """Return the content of run.json.

    Raises:
        UsageError: the directory holds no run.
    """
    found = read_run_metadata(url)
    if found is None:
        raise UsageError(f"{url}: holds no run (no run.json)")
    return found


def check_owner(url: str, outputs: Iterable[str] = ()) -> list[str]:
    """Look whether a run may write here.

    Args:
        url: the run directory.
        outputs: of the run, by their path in the directory.

    Returns:
        Notes for the user: what is damaged and is written anew; before the first run, how many files there
            are that are no run's.

    Raises:
        NotARunDirectoryError: names that a run writes are taken by files that are not a run's, or by those of
            a later version.
    """
    fs, path = filesystem(url)
    if not fs.isdir(path):
        return []
    names = {entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(path, detail=False)}
    taken = [name for name in STATE if name in names]
    known = read_run_metadata(url)
    if known is not None and known["retalk"] > FORMAT:
        raise NotARunDirectoryError(
            f"{url}: was written by a later version of retalk; use that, or another directory"
        )
    if known is not None:
        return []
    if not taken:
        own = {*OTHERS, *(output.split("/", 1)[0] for output in outputs)}
        others = sum(name not in own and not name.startswith(".") for name in names)
        entries = "1 file or folder that is" if others == 1 else f"{others} files and folders that are"
        return [f"{url}: holds {entries} no run's; nothing of that is touched"] if others else []
    if not _traces(url):
        listed = ", ".join(taken)
        raise NotARunDirectoryError(
            f"{url}: holds {listed} that no run of retalk has written and that a run would overwrite; choose another directory"
        )
    return [
        f"{url}: run.json is {'damaged' if 'run.json' in names else 'missing'}; the rest of the directory is a run's, it is used"
    ]


def _traces(url: str) -> bool:
    """Return whether there is any state of a run: a lock, or a file with a checksum."""
    lock = read_json(join(url, "lock.json"))
    if isinstance(lock, dict) and {"owner", "machine", "pid", "beat"} <= lock.keys():
        return True
    for folder in ("records", "receipts", "plans"):
        fs, path = filesystem(join(url, folder))
        if fs.isdir(path):
            files = (file for file in fs.find(path) if file.endswith(".json"))
            if any(
                read_checksummed(fs.unstrip_protocol(file)) is not None for file in islice(files, LOOKED_AT)
            ):
                return True
    ledger = _first_line(join(url, "ledger.jsonl"))
    return isinstance(ledger, dict) and {"title", "dub", "state", "stage_seconds"} <= ledger.keys()


def _first_line(url: str) -> Any | None:
    fs, path = filesystem(url)
    if not fs.isfile(path):
        return None
    with fs.open(path, "rb") as file:
        return parse_json(file.read(1 << 16).split(b"\n", 1)[0])
