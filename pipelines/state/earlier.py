"""Earlier versions of dubs that are computed again on request: one a dub, its output and its record, so that people see old
beside new.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from operators.storage.files import (
    atomic_write,
    exists,
    filesystem,
    join,
    local_copy,
    local_path,
    suffix,
)
from pipelines.state.run_directory import Record, RunDirectory, read_json, slug, write_text

#: Folder of the run directory.
FOLDER = "earlier"


def keep_earlier(run: RunDirectory, record: Record) -> None:
    """Keep the output of a finished dub before another takes its place; an older earlier version goes.

    Nothing is kept where the output is gone, or was kept already.

    Raises:
        OSError: it cannot be copied.
    """
    if record["state"] != "done" or not record.get("key") or not exists(record["output"]):
        return
    output, target = record["output"], _file(run, record)
    source, place = local_path(output), local_path(target)
    if source is not None and place is not None:
        with atomic_write(target) as path:
            _link(source, path)
    elif source is None and place is None and filesystem(output)[0] is filesystem(target)[0]:
        fs, path_there = filesystem(output)
        fs.makedirs(fs._parent(filesystem(target)[1]), exist_ok=True)
        fs.copy(path_there, filesystem(target)[1])
    else:
        with local_copy(output) as copy, atomic_write(target) as path:
            shutil.copyfile(copy, path)
    write_text(_about(run, record), json.dumps({**record, "kept": target}))


def earlier_version(run: RunDirectory, record: Record) -> Record | None:
    """Return the record of a dub's earlier version, with ``kept``, the URL of its file; None where none is kept."""
    found = read_json(_about(run, record))
    if (
        not isinstance(found, dict)
        or found.get("title") != record["title"]
        or found.get("dub") != record["dub"]
    ):
        return None
    # A run directory may have been moved.
    kept = join(run.url, FOLDER, slug(record["title"]), Path(str(found.get("kept", ""))).name)
    return {**found, "kept": kept} if exists(kept) else None


def _file(run: RunDirectory, record: Record) -> str:
    name = f"{slug(record['dub'])}{suffix(record['output'])}"
    return join(run.url, FOLDER, slug(record["title"]), name)


def _about(run: RunDirectory, record: Record) -> str:
    return join(run.url, FOLDER, slug(record["title"]), f"{slug(record['dub'])}.json")


def _link(source: Path, target: Path) -> None:
    """A second name for a file that will be replaced by another of its name, or a copy where links cannot be made."""
    try:
        target.unlink(missing_ok=True)
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
