"""Readers of lists as generators of pairs: Wav2Lip's unpaired lists, manifests of pairs, manifests of results.

A line that cannot be used falls out and is counted with its reason; it never stops the others. Whether files are
there is seen when they are needed: a missing one is a failed pair with its reason. Lists that are under copyright
are read from the user's path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from operators.storage.errors import refusal
from operators.storage.files import exists, filesystem, is_url, join, local_path
from pipelines.errors import UsageError
from pipelines.evaluation.pairs import Listing, Pair
from pipelines.manifest.cells import RowError, resolve, word
from pipelines.manifest.files import folder_of, read_rows
from pipelines.manifest.titles import name_problem

#: Byte order mark of UTF-8.
BOM = b"\xef\xbb\xbf"
#: Longest line that can be a pair, bytes.
LONGEST = 4096
#: Columns of manifests: pairs, and results to be scored.
PAIR_COLUMNS = ("id", "video", "audio")
SCORE_COLUMNS = ("id", "output", "video", "audio")
#: Other names of these columns.
ALSO = {"speech": "audio", "result": "output"}


def text_lines(url: str, what: str) -> Iterator[tuple[int, str | None]]:
    """Yield the lines of a text file with their numbers, streamed; None for one that is not UTF-8.

    A byte order mark, carriage returns and empty lines are passed over.

    Args:
        url: fsspec URL.
        what: the option that named it, for messages.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        fs, path = filesystem(url)
        if fs.isdir(path):
            raise UsageError(f"{what} {url}: is a folder; give the file")
        with fs.open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                line = (raw.removeprefix(BOM) if number == 1 else raw).strip()
                if not line:
                    continue
                try:
                    yield number, line.decode("utf-8") if len(line) <= LONGEST else None
                except UnicodeDecodeError:
                    yield number, None
    except UsageError:
        raise
    except FileNotFoundError as problem:
        raise UsageError(f"{what} {url}: no such file") from problem
    except Exception as problem:  # credentials, networks: each storage has its own
        raise UsageError(f"{what} {url}: cannot be read ({refusal(problem)})") from problem


def pairs_of_list(url: str, root: str, listing: Listing) -> Iterator[Pair]:
    """Read one of Wav2Lip's lists: ``AUDIO_ID VIDEO_ID`` a line, both an .mp4 below the data set's folder.

    Args:
        url: of the list.
        root: of the data set; for LRS2 also the folder above ``main``.
        listing: is counted in.

    Yields:
        Pairs named VIDEO_ID+AUDIO_ID, slashes as underscores.

    Raises:
        UsageError: list or folder cannot be read.
    """
    folder = None
    for number, line in text_lines(url, "--list"):
        listing.lines += 1
        where = f"line {number}"
        if line is None:
            listing.drop("not a line of text in UTF-8", where)
            continue
        names = [name.removesuffix(".mp4") for name in line.split()]
        if len(names) != 2:
            listing.drop("not two ids, AUDIO_ID VIDEO_ID", where)
            continue
        if any(_leaves(name) for name in names):
            listing.drop("an id that leads out of the data set's folder", where)
            continue
        audio, video = names
        if folder is None:
            folder = _data_folder(root, video)
        yield Pair(
            f"{video}+{audio}".replace("/", "_"), join(folder, f"{video}.mp4"), join(folder, f"{audio}.mp4")
        )


def _leaves(name: str) -> bool:
    return (
        name.startswith("/")
        or ".." in name.split("/")
        or "://" in name
        or "::" in name
        or bool(name_problem(name))
    )


def _data_folder(root: str, example: str) -> str:
    """The folder that ids are meant in: the given one, or ``main`` below it, as LRS2 is laid out."""
    below = join(root, "main")
    first = example.split("/", 1)[0]
    return below if not exists(join(root, first)) and exists(join(below, first)) else root


def folder_url(path: str) -> str:
    """URL of a data set's folder, absolute.

    Raises:
        UsageError: there is no such folder.
    """
    local = local_path(path)
    url = str(local.absolute()) if local is not None else path.rstrip("/")
    try:
        fs, inside = filesystem(url)
        found = fs.isdir(inside)
    except UsageError:
        raise
    except Exception as problem:
        raise UsageError(f"--root {path}: cannot be read ({refusal(problem)})") from problem
    if not found:
        raise UsageError(f"--root {path}: no such folder")
    return url


def pairs_of_manifest(url: str, listing: Listing) -> Iterator[Pair]:
    """Read a manifest of pairs: columns ``id`` (or none: row-N), ``video`` and ``audio``, in any format of `retalk run`."""
    for name, values in _rows(url, PAIR_COLUMNS, ("video", "audio"), listing):
        yield Pair(name, values["video"], values["audio"])


def results_of_manifest(url: str, listing: Listing) -> Iterator[Pair]:
    """Read a manifest of results: ``id``, ``output`` (the video to be scored), and, if known, the ``video`` that it was made of and the
    ``audio`` that it should show (default: the result's own sound).
    """
    for name, values in _rows(url, SCORE_COLUMNS, ("output",), listing):
        output = values["output"]
        yield Pair(name, values.get("video", ""), values.get("audio", "") or output, output=output)


def _rows(
    url: str, columns: tuple[str, ...], needed: tuple[str, ...], listing: Listing
) -> Iterator[tuple[str, dict[str, str]]]:
    folder = folder_of(url)
    unknown: set[str] = set()
    for number, (where, content) in enumerate(read_rows(url), 1):
        listing.lines += 1
        try:
            if isinstance(content, str):
                raise RowError(content)
            given = {ALSO.get(key, key): value for key, value in content.items() if value not in (None, "")}
            unknown |= {str(key) for key in content if ALSO.get(key, key) not in columns}
            name = word(given, "id", f"row-{number}")
            if not name or name_problem(name):
                raise RowError("id: cannot be a name")
            yield (
                name,
                {key: _file(given, key, folder) for key in columns[1:] if key in given or key in needed},
            )
        except RowError as problem:
            listing.drop(str(problem).split(": no such file")[0] or "no row", where or f"row {number}")
    if unknown:
        listing.notes.append(f"columns that mean nothing here: {', '.join(sorted(unknown))}")


def _file(row: dict[str, Any], key: str, folder: str) -> str:
    """A file of a row, absolute; one that is missing is seen when it is needed."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{key}: is missing")
    if wrong := name_problem(value):
        raise RowError(f"{key}: {wrong}")
    path = value.strip()
    if is_url(path) or path.startswith("/"):
        return path
    found, missing = resolve(path, folder, key)
    return join(folder, path) if missing else found
