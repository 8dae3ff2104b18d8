"""The folder of `retalk faces`: which of its files an earlier call has written, and may therefore be replaced."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from operators.storage.files import atomic_write
from pipelines.errors import UsageError

#: Lists the people and their pictures; written before the pictures, and in it are those that may be replaced.
LISTING = "faces.json"
SHEET, PAGE = "faces.jpg", "index.html"
_BESIDE_PICTURES = {LISTING, SHEET, PAGE}
_PICTURE = re.compile(r"person-\d+\.jpg")


def picture_name(person: int) -> str:
    """Name of the picture of a person."""
    return f"person-{person}.jpg"


def check_folder(folder: Path) -> None:
    """Look whether a folder can be made or written, before any work; nothing is made.

    Raises:
        UsageError: it cannot, or somebody else's files would be lost.
    """
    try:
        if os.path.lexists(folder) and not folder.exists():
            raise UsageError(f"-o {folder} is a symlink to nowhere; choose another folder")
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        if not there.is_dir():
            raise UsageError(f"-o {folder}: {there} is a file; give a folder, which is made if it is missing")
        if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
            raise UsageError(f"-o {folder}: {there} cannot be written and listed; choose another folder")
        if folder.exists():
            _check_files(folder, [name for name in os.listdir(folder) if _PICTURE.fullmatch(name)])
    except OSError as problem:
        raise UsageError(f"-o {folder}: {problem.strerror}; choose another folder") from problem


def clear_folder(folder: Path, wanted: Iterable[str]) -> None:
    """Make the folder, and remove the pictures that an earlier call has written there and that are not ``wanted`` any more: a number
    means somebody else now.

    Raises:
        UsageError: somebody else's files would be lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(wanted)
    for name in _check_files(folder, wanted) - wanted - _BESIDE_PICTURES:
        (folder / name).unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all; a symlink is replaced, its target stays."""
    with atomic_write(str(path.absolute())) as temporary:
        temporary.write_bytes(data)


def _own_files(folder: Path) -> set[str]:
    """Names of the files that an earlier call may have written into a folder, none where there was no such call."""
    try:
        listed = json.loads((folder / LISTING).read_bytes())
        names = {one["face"] for one in listed["people"]}
        ours = isinstance(listed["video"], str) and all(_PICTURE.fullmatch(name) for name in names)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return names | _BESIDE_PICTURES if ours else set()


def _check_files(folder: Path, pictures: Iterable[str]) -> set[str]:
    """Return `_own_files`, if what will be written replaces no others.

    Raises:
        UsageError: it would.
    """
    own = _own_files(folder)
    for name in sorted({*pictures, *_BESIDE_PICTURES}):
        if os.path.lexists(path := folder / name) and (
            name not in own or (path.is_dir() and not path.is_symlink())
        ):
            raise UsageError(f"{path} is there already, and not from `retalk faces`; choose another folder")
    return own
