"""Outputs that a run has made, which it may replace. Any other file under an output's name is
foreign and is not overwritten.

``made/TITLE/DUB.json`` in the run directory lists the outputs of a dub with their sizes. It is written before
an output appears and again afterwards, so that a run that was killed in between knows its own file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fsspec.implementations.local import LocalFileSystem

from operators.storage.errors import refusal
from operators.storage.files import exists, filesystem, is_url, join
from operators.storage.redact import redact
from pipelines.errors import PreflightError
from pipelines.manifest.titles import Title
from pipelines.state.run_directory import (
    Record,
    RunDirectory,
    parse_json,
    read_checksummed,
    remove,
    slug,
    verify_checksum,
    write_checksummed,
)
from pipelines.state.sidecars import with_sidecars

FOLDER = "made"
#: Outputs that an error lists; a folder with more outputs than `FEW` is listed once in place of a question
#: for each.
NAMED, FEW = 20, 8
#: Outputs left behind that a note names.
LEFT = 3


class ExistingOutputError(PreflightError):
    """Outputs exist that this run has not made; the message lists them. Nothing has run."""


def _file(run: RunDirectory, title: str, dub: str) -> str:
    return join(run.url, FOLDER, slug(title), f"{slug(dub)}.json")


@contextmanager
def making(run: RunDirectory, title: str, dub: str, output: str) -> Iterator[None]:
    """Note that an output, and the manifest beside it, are the run's own, around the code that writes them.

    Raises:
        OSError: the note cannot be written; the output has not been touched.
    """
    url, files = _file(run, title, dub), with_sidecars([output])
    names = {redact(run.relative(file)): file for file in files}
    earlier = (read_checksummed(url) or {}).get("outputs", {})

    def note(outputs: dict[str, int | None]) -> None:
        write_checksummed(url, {"title": title, "dub": dub, "outputs": outputs})

    note({**earlier, **dict.fromkeys(names)})
    try:
        yield
    except Exception:
        # An output appears whole or not at all: what stands there is what stood there before.
        with suppress(OSError):
            note(earlier) if earlier else remove(url)
        raise
    with suppress(OSError):  # the output is there, and the first note covers it
        sizes = _sizes(files)
        note({**earlier, **{name: sizes[file] for name, file in names.items() if file in sizes}})


def made_by(run: RunDirectory) -> dict[str, set[int | None]]:
    """Outputs of a run by their name (relative where they lie in the run directory) with their sizes; None:
    it may have any.
    """
    found: dict[str, set[int | None]] = {}
    for record in run.records():
        if record.get("state") == "done":
            found.setdefault(run.relative(record["output"]), set()).add(record.get("size"))
    fs, root = filesystem(join(run.url, FOLDER))
    paths = [path for path in fs.find(root) if path.endswith(".json")] if fs.isdir(root) else []
    for content in (fs.cat(paths, on_error="omit") if paths else {}).values():
        note = verify_checksum(parse_json(content)) or {}
        for name, size in note.get("outputs", {}).items():
            found.setdefault(name, set()).add(size)
    return found


def foreign_outputs(run: RunDirectory, titles: Sequence[Title]) -> dict[str, str]:
    """Find outputs that exist and that no run in this directory has made.

    Returns:
        A description of each, in the order of the titles.

    Raises:
        PreflightError: a folder of outputs cannot be looked into.
    """
    wanted = [
        dub.output
        for title in titles
        if not title.error
        for dub in title.dubs
        if dub.output and not dub.error
    ]
    there = _sizes(with_sidecars(wanted))
    made = made_by(run) if there else {}
    found = {}
    for output, size in there.items():
        sizes = made.get(redact(run.relative(output)), set())
        if size not in sizes and None not in sizes:
            found[output] = "has changed since this run made it" if sizes else "exists already"
    return found


def left_behind(run: RunDirectory, records: Sequence[Record]) -> list[str]:
    """Describe the files that dubs leave behind whose output has got another name: one line, or none."""
    files = with_sidecars([record["output"] for record in records])
    now = {redact(run.relative(file)) for file in files}
    left = []
    for record in records:
        if "output" in (record.get("changed") or ()) and record["state"] == "done":
            note = read_checksummed(_file(run, record["title"], record["dub"])) or {}
            left += [
                name
                for name in note.get("outputs", {})
                if name not in now
                and exists(name if is_url(name) or name.startswith("/") else join(run.url, name))
            ]
    if not left:
        return []
    more = f" and {len(left) - LEFT} more" if len(left) > LEFT else ""
    return [
        f"earlier outputs stay, their dubs have other names now: {', '.join(left[:LEFT])}{more} in {redact(run.url)}; delete them if "
        "they are not wanted"
    ]


def check_outputs(run: RunDirectory, titles: Sequence[Title]) -> None:
    """Refuse to overwrite files that this run has not made.

    Raises:
        ExistingOutputError: listing them.
        PreflightError: a folder of outputs cannot be looked into.
    """
    found = [f"{output}: {what}" for output, what in foreign_outputs(run, titles).items()]
    if len(found) == 1:
        raise ExistingOutputError(f"{found[0]}; --overwrite replaces it")
    if found:
        more = f"\n  ... and {len(found) - NAMED} more" if len(found) > NAMED else ""
        listed = "\n  ".join(found[:NAMED])
        raise ExistingOutputError(
            f"{len(found)} outputs would be lost; --overwrite replaces them:\n  {listed}{more}"
        )


def _sizes(outputs: Sequence[str]) -> dict[str, int]:
    """Sizes of those outputs that exist, in the same order. A folder of many outputs is listed once.

    Raises:
        PreflightError: a folder cannot be looked into.
    """
    folders: dict[str, list[str]] = {}
    for output in outputs:
        folders.setdefault(output.rsplit("/", 1)[0] if "/" in output else ".", []).append(output)
    found: dict[str, int] = {}
    for folder, inside in folders.items():
        try:
            found.update(_listed(folder, inside) if len(inside) > FEW else _asked(inside))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as problem:
            raise PreflightError(
                f"{folder}: cannot look for outputs that exist already ({refusal(problem)}); choose another folder, or --overwrite"
            ) from problem
    return {output: found[output] for output in outputs if output in found}


def _asked(outputs: Sequence[str]) -> dict[str, int]:
    found = {}
    for output in outputs:
        fs, path = filesystem(output)
        if isinstance(fs, LocalFileSystem) and os.path.islink(path) and not os.path.exists(path):
            found[output] = 0  # a link that leads to nothing would be replaced too
            continue
        with suppress(FileNotFoundError, NotADirectoryError):
            found[output] = int(fs.info(path).get("size") or 0)
    return found


def _listed(folder: str, outputs: Sequence[str]) -> dict[str, int]:
    fs, path = filesystem(folder)
    wanted = {output.rsplit("/", 1)[-1]: output for output in outputs}
    if isinstance(fs, LocalFileSystem):
        # Names alone: a size for each of another program's thousands of files would take longer than all
        # else.
        return _asked(
            [
                wanted[name]
                for entry in fs.ls(path, detail=False)
                if (name := entry.rsplit("/", 1)[-1]) in wanted
            ]
        )
    entries = {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry for entry in fs.ls(path, detail=True)}
    return {output: int(entries[name].get("size") or 0) for name, output in wanted.items() if name in entries}
