"""Temporary folders on this machine that are removed even if the process that made them was killed."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

PREFIX = "retalk-io-"
#: File in it whose lock says that its process lives.
LOCK = ".lock"
#: Seconds after which a folder that nobody holds is a dead process's (a new one is held a moment after it is
#: made).
YOUNG = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, removed at the end. The folder of a killed process is removed by the next process
    that makes one.
    """
    sweep_scratch(tempfile.gettempdir())
    # The kernel drops the lock when the process ends, however it ends.
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, filelock.FileLock(Path(name, LOCK)):
        yield Path(name)


@functools.lru_cache(maxsize=4)
def sweep_scratch(root: str) -> None:
    """Remove the folders of dead processes, once a process."""
    for folder in Path(root).glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < YOUNG:
                continue
            with filelock.FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, PermissionError, filelock.Timeout):
            continue  # gone just now, another user's, or somebody is at work there
