"""Retries for remote storage: calls that fail for the moment are repeated with growing pauses; lasting
failures are reported plainly.

A call is repeated when the storage may answer it later: 503 and related answers, timeouts, broken
connections. Failures that waiting does not change (a missing file, no permission, a full disk) are raised at
once. Rules about single protocols (`retalk_models.storage_rules`) are asked first.
"""

from __future__ import annotations

import errno
import io
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import shorten
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem

from operators.storage.errors import StorageError
from retalk_models import retrying
from retalk_models.retrying import RETRYABLE_STATUS, doubled
from retalk_models.storage_rules import describe, judge

#: Seconds for which a call is repeated; the environment variable RETALK_STORAGE_PATIENCE, also in the
#: workers, gives another number.
PATIENCE = 120.0
_patience: ContextVar[float] = ContextVar("patience", default=PATIENCE)
#: First and longest pause in seconds; each is up to twice as long as the one before, less a random half, so
#: that workers do not return all at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
#: Characters of a storage's own message that are repeated.
SAID = 600
#: System errors that waiting does not mend.
NON_RETRYABLE_ERRNOS = {
    *(
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EFBIG,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ELOOP,
        errno.ENOTEMPTY,
    ),
    *(
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENOTSUP,
        errno.ENOSYS,
    ),
}
#: Client libraries whose own exceptions without a status are failed connections.
CLIENTS = ("aiohttp.", "botocore.", "urllib3.", "requests.", "google.auth.", "azure.core.", "paramiko.")
#: Errors that callers distinguish; every other lasting one becomes a `StorageError` with the URL.
PASS_THROUGH = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
)

T = TypeVar("T")


def transient(problem: BaseException) -> bool:
    """True if the same call may succeed later, by what holds for all protocols."""
    status = (
        getattr(problem, "status", None)
        or getattr(problem, "status_code", None)
        or getattr(problem, "code", None)
    )
    if str(status).isdigit():
        return int(str(status)) in RETRYABLE_STATUS
    if isinstance(problem, (TimeoutError, ConnectionError, EOFError)):
        return True
    if isinstance(problem, OSError):
        # Storages raise errors without a number too: those are worth another try.
        return problem.errno not in NON_RETRYABLE_ERRNOS and not isinstance(
            problem, (*PASS_THROUGH, PermissionError)
        )
    return f"{type(problem).__module__}.".startswith(CLIENTS) or type(problem).__name__ in (
        "FSTimeoutError",
        "TimeoutError",
    )


def retry_seconds() -> float:
    """Seconds for which a call is repeated: of the variable ``RETALK_STORAGE_PATIENCE``, else of `patience`, else `PATIENCE`."""
    return float(os.environ.get("RETALK_STORAGE_PATIENCE", _patience.get()))


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Repeat calls in this block for so long: somebody is waiting at a terminal."""
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


def retry(call: Callable[[], T], what: str) -> T:
    """Call until it does not fail, or fails for good.

    Args:
        call: may be made again after any failure.
        what: URL for the message.

    Raises:
        StorageError: the storage did not answer for `retry_seconds()` seconds, or refuses, or the credentials
            for it are missing or wrong.
        FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError: as they are.
    """
    began = time.monotonic()

    def failed(problem: Exception, tries: int) -> None:
        if isinstance(problem, StorageError):
            raise problem
        fault, note = judge(what, problem)
        # Some clients say it in several lines, with the answer's whole content.
        said = f"{type(problem).__name__}: {shorten(str(problem), SAID, placeholder=' ...')}{note}"
        if fault == "missing":
            raise FileNotFoundError(errno.ENOENT, said, what) from problem
        if fault is None and isinstance(problem, PASS_THROUGH):
            raise problem
        if fault in ("final", "credentials") or (fault is None and not transient(problem)):
            if isinstance(problem, OSError) or fault is not None:
                raise StorageError(f"{what}: {said}{describe(what, fault)}") from problem
            raise problem
        pause = doubled(FIRST_PAUSE, tries, LONGEST_PAUSE)
        if time.monotonic() - began + pause > retry_seconds():
            waited = f"{tries} tries in {time.monotonic() - began:.0f} s"
            raise StorageError(
                f"{what}: the storage does not answer ({waited}; the last: {said}); run again when it does"
            ) from problem
        time.sleep(pause * random.uniform(0.5, 1.0))

    return retrying.retry(call, failed)


class RetryingFile(io.RawIOBase):
    """A file opened for reading whose reads are repeated, from the same place of a file opened anew."""

    def __init__(self, fs: Any, path: str, url: str, size: int) -> None:
        super().__init__()
        self._fs, self._path, self._url, self._size = fs, path, url, size
        self._place = 0
        self._file: Any = retry(self._open, url)

    def _open(self) -> Any:
        return self._fs.open(self._path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        )
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size - self._place if size is None or size < 0 else size
        if wanted <= 0:
            return b""
        data: bytes = retry(lambda: self._attempt(wanted), self._url)
        self._place += len(data)
        return data

    def readall(self) -> bytes:
        return self.read(-1)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _attempt(self, wanted: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._open()
            self._file.seek(self._place)
            data = bytes(self._file.read(wanted))
        except Exception:
            # The state of a file object after a failure is undefined.
            broken, self._file = self._file, None
            if broken is not None:
                _let_go(broken)
            raise
        if not data and self._place < self._size:
            raise ConnectionError(f"the file ends at byte {self._place} of {self._size}")
        return data

    def close(self) -> None:
        if self._file is not None:
            _let_go(self._file)
            self._file = None
        super().close()


def _let_go(file: Any) -> None:
    """Close a file that was only read: that its connection is broken matters no more."""
    try:
        file.close()
    except Exception as problem:
        if not transient(problem):
            raise


class RetryingFileSystem:
    """An fsspec file system whose calls are repeated. What is not listed here goes to the file system as it
    is.

    It also tells "not there" from "no answer", which fsspec's own `exists` and `isdir` do not, and never
    answers from a listing that it made earlier: other processes write at the same time.

    Args:
        fs: the file system.
        scheme: of the URLs that messages name, where the file system has several; "": its own.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, scheme: str = "") -> None:
        self._fs: Any = fs
        self._scheme = scheme

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def unstrip_protocol(self, path: str) -> str:
        """Return the URL of a path."""
        url = str(self._fs.unstrip_protocol(path))
        return f"{self._scheme}://{url.partition('://')[2]}" if self._scheme and "::" not in url else url

    def _url(self, path: str) -> str:
        return self.unstrip_protocol(path)

    def _fresh(self, path: str) -> None:
        self._fs.invalidate_cache(path)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self._fresh(path)
        found: dict[str, Any] = retry(lambda: self._fs.info(path, **options), self._url(path))
        return found

    def exists(self, path: str, **options: Any) -> bool:
        try:
            self.info(path, **options)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def isdir(self, path: str) -> bool:
        try:
            return bool(self.info(path)["type"] == "directory")
        except (FileNotFoundError, NotADirectoryError):
            return False

    def isfile(self, path: str) -> bool:
        try:
            return bool(self.info(path)["type"] == "file")
        except (FileNotFoundError, NotADirectoryError):
            return False

    def size(self, path: str) -> int | None:
        size: int | None = self.info(path).get("size")
        return size

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        self._fresh(path)
        found: list[Any] = retry(lambda: self._fs.ls(path, detail=detail, **options), self._url(path))
        return found

    def find(self, path: str) -> list[str]:
        """All files below a folder; unlike fsspec's own, a folder that cannot be listed is an error."""
        kind = type(self._fs)
        if kind.find is not fsspec.AbstractFileSystem.find or getattr(kind, "_find", None) not in (
            None,
            AsyncFileSystem._find,
        ):
            # An object store has a listing of its own, which is one call and not one a folder.
            self._fresh(path)
            return sorted(retry(lambda: self._fs.find(path), self._url(path)))
        found, folders = [], [path]
        for folder in folders:  # grows while it is walked
            for entry in self.ls(folder):
                if entry["type"] == "directory":
                    folders.append(entry["name"])
                else:
                    found.append(entry["name"])
        return sorted(found)

    def cat_file(self, path: str, **options: Any) -> bytes:
        content: bytes = retry(lambda: self._fs.cat_file(path, **options), self._url(path))
        return content

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        size = self.size(path) if mode == "rb" and not options else None
        if size is not None:
            return RetryingFile(self._fs, path, self._url(path), size)
        return retry(lambda: self._fs.open(path, mode, **options), self._url(path))

    def put_file(self, local: str, path: str, **options: Any) -> None:
        retry(lambda: self._fs.put_file(local, path, **options), self._url(path))

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        retry(lambda: self._fs.pipe_file(path, value, **options), self._url(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        retry(lambda: self._fs.makedirs(path, exist_ok=exist_ok), self._url(path))

    def rmdir(self, path: str) -> None:
        retry(lambda: self._fs.rmdir(path), self._url(path))

    def rm_file(self, path: str) -> None:
        self._remove(lambda: self._fs.rm_file(path), path)

    def rm(self, path: str, recursive: bool = False, **options: Any) -> None:
        self._remove(lambda: self._fs.rm(path, recursive=recursive, **options), path)

    def _remove(self, call: Callable[[], None], path: str) -> None:
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            try:
                call()
            except FileNotFoundError:
                if tries == 1:
                    raise
                # An earlier try has done it, only its answer was lost.

        retry(once, self._url(path))

    def mv(self, source: str, target: str, **options: Any) -> None:
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            try:
                self._fs.mv(source, target, **options)
            except FileNotFoundError:
                if tries == 1 or not self.exists(target):
                    raise

        retry(once, self._url(target))
