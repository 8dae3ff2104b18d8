"""Files of this machine: digests, replacement as a whole, pauses between tries.

Standard library only; the packages above build on it (`operators.storage` for files anywhere).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sha256_of(source: str | os.PathLike[str] | BinaryIO) -> str:
    """The hex SHA-256 of a file of this machine, or of what an open binary file still holds.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as stream:
            return sha256_of(stream)
    digest = hashlib.sha256()
    while chunk := source.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replacement(target: Path, temporary: Path) -> Iterator[Path]:
    """Write a file that appears whole at ``target`` or not at all.

    Args:
        target: the file; its folder exists or is made.
        temporary: path in the same folder that nobody else uses; it is yielded, and what the block has written
            there takes the target's place when the block ends normally, synchronised to the disk. In any case
            it is gone afterwards.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse to sync a folder; the rename is atomic all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
