"""Temporary folders on this machine that are removed even if the process that made them was killed."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "retalk-io-"
#: Seconds after which a folder that nobody holds is a dead process's (a new one is held a moment after it is
#: made).
YOUNG = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, removed at the end. The folder of a killed process is removed by the next process
    that makes one.
    """
    sweep_scratch(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        # The kernel drops the lock when the process ends, however it ends.
        descriptor = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(descriptor)


@functools.lru_cache(maxsize=4)
def sweep_scratch(root: str) -> None:
    """Remove the folders of dead processes, once a process."""
    for folder in Path(root).glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < YOUNG:
                continue
            descriptor = os.open(folder, os.O_RDONLY)
        except (FileNotFoundError, PermissionError):
            continue  # gone just now, or another user's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue  # somebody is at work there
        finally:
            os.close(descriptor)
