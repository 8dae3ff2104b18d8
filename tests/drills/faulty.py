"""``faulty://``: an fsspec file system on this machine's disk that fails as storages do, at random and the
same way each time.

What fails is said by the environment variable RETALK_TEST_FAULTS (JSON of `Faults`), so that workers, which
inherit it, fail alike. ``python -c "import tests.drills.faulty"`` registers it; in Ray's workers `register`
is the set-up hook.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

VARIABLE = "RETALK_TEST_FAULTS"


@dataclasses.dataclass(frozen=True)
class Faults:
    """Faults of the file system.

    Attributes:
        rate: share of calls that fail with something that passes: a 503, a slow-down, a timeout, a broken
            connection.
        most: so many calls of one kind on one path fail in one process, at most.
        seed: other calls fail with another one.
        down: calls on paths with this pattern always fail with a 503.
        denied: these always fail for lack of permission.
        full: writing these fails half-way: no space left.
        kill: reading these kills the process.
        count: a file on this machine that grows by a byte with each failure that passes.
    """

    rate: float = 0.0
    most: int = 3
    seed: int = 0
    down: str = ""
    denied: str = ""
    full: str = ""
    kill: str = ""
    count: str = ""

    def variable(self) -> str:
        return json.dumps(dataclasses.asdict(self))


class UnavailableError(Exception):
    """A client library's own exception, with the HTTP status that object stores give when they are asked too
    much.
    """

    status = 503

    def __str__(self) -> str:
        return "503 Service Unavailable"


PASSING = (
    UnavailableError,
    lambda: OSError(errno.EBUSY, "SlowDown: please reduce your request rate"),
    lambda: TimeoutError("the request timed out"),
    lambda: ConnectionResetError(errno.ECONNRESET, "connection reset by peer"),
)


class FaultyFileSystem(fsspec.AbstractFileSystem):
    """See the module. ``counts`` are the calls that failed, by kind."""

    protocol = "faulty"
    cachable = False
    counts: ClassVar[Counter[str]] = Counter()
    calls: ClassVar[Counter[tuple[str, str]]] = Counter()
    failures: ClassVar[Counter[tuple[str, str]]] = Counter()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.disk = LocalFileSystem(auto_mkdir=False)

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix("faulty://").rstrip("/") or "/"

    def trouble(self, kind: str, path: str) -> None:
        """Fail, if this call is to."""
        faults = Faults(**json.loads(os.environ.get(VARIABLE, "{}")))
        if faults.kill and kind == "read" and re.search(faults.kill, path):
            os._exit(9)
        if faults.down and re.search(faults.down, path):
            self.counts[kind] += 1
            raise UnavailableError
        if faults.denied and re.search(faults.denied, path):
            raise PermissionError(errno.EACCES, f"403 Forbidden: {path}")
        self.calls[kind, path] += 1
        digest = hashlib.sha256(f"{faults.seed} {kind} {path} {self.calls[kind, path]}".encode()).digest()
        if self.failures[kind, path] < faults.most and digest[0] < 256 * faults.rate:
            self.failures[kind, path] += 1
            self.counts[kind] += 1
            if faults.count:
                with open(faults.count, "a") as file:
                    file.write(".")
            raise PASSING[digest[1] % len(PASSING)]()

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        self.trouble("info", path)
        found: dict[str, Any] = self.disk.info(path)
        return found

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        path = self._strip_protocol(path)
        self.trouble("list", path)
        found: list[Any] = self.disk.ls(path, detail=detail)
        return found

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        path = self._strip_protocol(path)
        self.trouble("open", path)
        return (FaultyReader if mode == "rb" else FaultyWriter)(self, path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        self.trouble("makedirs", path)
        self.disk.makedirs(path, exist_ok=exist_ok)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        # Half of the failures come when it is done already: only the answer is lost.
        if hashlib.sha256(target.encode()).digest()[0] % 2:
            self.trouble("move", target)
            os.replace(source, target)
        else:
            os.replace(source, target)
            self.trouble("move", target)

    def rm_file(self, path: str) -> None:
        path = self._strip_protocol(path)
        os.unlink(path)
        self.trouble("remove", path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        path = self._strip_protocol(path)
        self.trouble("remove", path)
        self.disk.rm(path, recursive=recursive)

    def rmdir(self, path: str) -> None:
        path = self._strip_protocol(path)
        self.trouble("rmdir", path)
        os.rmdir(path)


class FaultyReader(io.RawIOBase):
    """A file read from the disk; its reads may fail, and then the file is of no more use."""

    def __init__(self, fs: FaultyFileSystem, path: str) -> None:
        super().__init__()
        self.fs, self.path = fs, path
        self.file = open(path, "rb")  # noqa: SIM115  (closed by `close`)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            self.fs.trouble("read", self.path)
        except Exception:
            self.file.close()
            raise
        return self.file.readinto(buffer)

    def close(self) -> None:
        self.file.close()
        super().close()


class FaultyWriter(io.RawIOBase):
    """A file written to the disk; a write that fails has written half."""

    def __init__(self, fs: FaultyFileSystem, path: str) -> None:
        super().__init__()
        self.fs, self.path = fs, path
        self.file = open(path, "wb")  # noqa: SIM115  (closed by `close`)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        full = json.loads(os.environ.get(VARIABLE, "{}")).get("full")
        try:
            if full and re.search(full, self.path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.fs.trouble("write", self.path)
        except Exception:
            self.file.write(bytes(data)[: len(data) // 2])
            raise
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def register() -> None:
    """Make ``faulty://`` known to fsspec in this process."""
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)


def temporary_files(*folders: Path) -> list[Path]:
    """Files below the folders that were left by a writer."""
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if ".part" in path.name or path.name.startswith(".retalk")
    )


register()
