"""Trust on first use: the lock file of digests that no publisher has stated, and the stamps that spare
hashing twice.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import fsspec

from retalk_models.registry.errors import HashMismatchError, WeightsError
from retalk_models.registry.home import is_remote, local_path, read_json, write_json

log = logging.getLogger(__name__)

ABOUT = "Digests trusted on first use by `retalk models`: check this file in, and name it with --lock or RETALK_LOCK."
#: Errors of a file system that has no locks (some cluster file systems) or may not be written.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EROFS, errno.EACCES, errno.EPERM}
#: A holder of a lock whose transfer has not moved for so many seconds is given up.
STALE_SECONDS = 600.0


def _acquire(
    lock: filelock.BaseFileLock, work: Callable[[], object], stale: float, say: Callable[[], None]
) -> bool:
    """Wait for a lock; False: its holder's work has not changed for ``stale`` seconds of this machine's
    clock.
    """
    seen, seen_at = work(), time.monotonic()
    told = False
    while True:
        try:
            lock.acquire(timeout=min(1.0, stale), poll_interval=0.05)
            return True
        except filelock.Timeout:
            if not told:
                say()
                told = True
            now = work()
            if now != seen:
                seen, seen_at = now, time.monotonic()
            elif time.monotonic() - seen_at > stale:
                return False


@contextmanager
def exclusive(
    directory: Path,
    key: str,
    work: Callable[[], object] = lambda: None,
    stale: float = STALE_SECONDS,
    say: Callable[[str], None] = log.info,
) -> Iterator[bool]:
    """Hold the lock ``key`` among all processes and nodes that share ``directory``; yields whether it is
    really held.

    A process that dies frees its lock (the kernel's, not a marker file). A holder that lives but does nothing
    is given up: when ``work()`` (anything that changes while the holder gets on) has stayed the same for
    ``stale`` seconds, the block runs without the lock and yields False. On file systems without locks,
    processes of one node exclude each other, nodes do not.
    """
    waiting = f"another process is fetching {key}: waiting for it"
    for place in (
        directory,
        Path(tempfile.gettempdir())
        / f"retalk-locks-{os.getuid()}"
        / hashlib.sha256(str(directory).encode()).hexdigest()[:12],
    ):
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(place / f"{key}.lock")
            held = _acquire(lock, work, stale, lambda: say(waiting))
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            log.info("%s: no file locks there (%s); locking within this node only", place, error)
            continue
        break
    else:
        raise WeightsError(
            f"no lock for {key} can be taken in {directory} nor in {tempfile.gettempdir()}: is there a writable directory?",
            [key],
        )
    if not held:
        say(
            f"the process that holds the lock of {key} has done nothing for {stale:.0f} s: going on without it"
        )
    try:
        yield held
    finally:
        lock.release()


class HashLock:
    """The lock file: a JSON object of digests that were trusted on first use.

    Args:
        url: its path or fsspec URL.
        locks: a local directory for the file locks that guard its changes.
    """

    def __init__(self, url: str, locks: Path) -> None:
        self.url, self.locks = url, locks

    def entries(self) -> dict[str, dict]:
        """The entries by file name: ``{"sha256": ..., "source": ..., "size": ...}``.

        Raises:
            WeightsError: the file is not such a JSON object.
        """
        try:
            value = read_json(self.url)
        except json.JSONDecodeError as error:
            raise WeightsError(
                f"lock file {self.url}: not JSON ({error}); repair it or delete it", [self.url]
            ) from error
        entries = {} if value is None else value.get("files")
        if not isinstance(entries, dict) or not all(
            isinstance(entry, dict) and "sha256" in entry for entry in entries.values()
        ):
            raise WeightsError(
                f"lock file {self.url}: it has no object 'files' whose entries have a 'sha256'; repair it or delete it",
                [self.url],
            )
        return entries

    def sha256(self, file: str) -> str | None:
        """The digest pinned for a file, or None."""
        entry = self.entries().get(file)
        return None if entry is None else str(entry["sha256"]).lower()

    def pin(self, file: str, sha256: str, size: int | None, source: str, replace: bool = False) -> None:
        """Write a digest down, with the size where that is known.

        Raises:
            HashMismatchError: another digest is pinned already (another process was first) and ``replace`` is
                False.
            OSError: the lock file cannot be written.
        """
        with exclusive(self.locks, "lock-file"):
            entries = self.entries()
            known = entries.get(file)
            if known is not None and not replace:
                if known["sha256"].lower() != sha256:
                    raise HashMismatchError(
                        f"{file}: its SHA-256 is {sha256}, but {self.url} pins {known['sha256']}", [file]
                    )
                return
            entries[file] = {"sha256": sha256, "source": source} | ({} if size is None else {"size": size})
            value = {"about": ABOUT, "files": entries}
            if is_remote(self.url):
                filesystem, path = fsspec.core.url_to_fs(self.url)
                filesystem.pipe_file(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())
            else:
                write_json(local_path(self.url), value)


class DigestCache:
    """Digests by file as last computed, so that a file of the same size and time is not hashed again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def sha256(self, path: Path) -> str | None:
        """The digest of a file as last computed, or None if it has changed since or was never hashed."""
        stamp = read_json(str(self._stamp(path)))
        stat = path.stat()
        if stamp is None or (stamp.get("size"), stamp.get("mtime_ns")) != (stat.st_size, stat.st_mtime_ns):
            return None
        return stamp.get("sha256")

    def _stamp(self, path: Path) -> Path:
        # Files of other folders may have the names of those of the cache.
        other = (
            ""
            if path.parent == self.directory.parent
            else hashlib.sha256(str(path).encode()).hexdigest()[:12] + "."
        )
        return self.directory / f"{path.name}.{other}json"

    def write(self, path: Path, sha256: str) -> None:
        """Remember a digest; in a read-only cache nothing is remembered."""
        stat = path.stat()
        try:
            write_json(
                self._stamp(path),
                {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256},
            )
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.debug("%s: digest not remembered: %s", path, error)
