"""One run at a time in a run directory: a lock file with its owner and a heartbeat; a dead owner's lock is
taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from operators.storage.files import filesystem, join, local_path
from operators.storage.objects import create
from pipelines.errors import UsageError
from pipelines.state.run_directory import read_json, remove, write_text

#: Seconds between two heartbeats, and after which a silent owner counts as dead.
HEARTBEAT = 5.0
STALE = 30.0

#: Linux's flag of a process that is on its way out (``PF_EXITING`` in ``/proc/PID/stat``).
_PF_EXITING = 4


class LockedError(UsageError):
    """Another run is at work in the same run directory."""


def _machine() -> str:
    """Names this machine and its process namespace, where a process id means something."""
    namespace = "/proc/self/ns/pid"
    return f"{socket.gethostname()} {os.readlink(namespace) if os.path.exists(namespace) else ''}".strip()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
        # One that has ended and that its parent has not asked about is there, too; one that is being killed
        # (a run's worker, when the terminal's process was) is there for as long as its memory takes to go.
        if fields[0] == "Z":
            return False
        killed = bool(int(fields[6]) & _PF_EXITING or pending & 1 << (signal.SIGKILL - 1))
        return not (killed and _gone(pid))
    except (OSError, LookupError, ValueError):
        return True


def _gone(pid: int) -> bool:
    """Wait for a process that is ending; False if it is still there after 10 s."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10.0)[0])
    finally:
        os.close(descriptor)


def _parse(lock: Any) -> dict[str, Any] | None:
    """A lock's content; None if this is not one."""
    if not isinstance(lock, dict) or not all(
        isinstance(lock.get(name), str) for name in ("owner", "machine")
    ):
        return None
    return lock if all(isinstance(lock.get(name), (int, float)) for name in ("pid", "beat")) else None


def holder(url: str) -> dict[str, Any] | None:
    """The run that holds a run directory now: ``{owner, machine, pid, started, beat}``; None if nobody alive
    does.
    """
    lock = _parse(read_json(join(url, "lock.json")))
    if lock is None or (lock["machine"] == _machine() and not _alive(int(lock["pid"]))):
        return None
    return lock if time.time() - float(lock["beat"]) < STALE else None


def _watched_holder(url: str) -> dict[str, Any] | None:
    """As `holder`, but a run on another machine is dead only when its heart is seen not to beat: the
    machines' clocks may differ.
    """
    lock = _parse(read_json(join(url, "lock.json")))
    if lock is None or lock["machine"] == _machine():
        return holder(url)
    if abs(time.time() - float(lock["beat"])) < STALE:
        return lock
    time.sleep(1.5 * HEARTBEAT)
    later = _parse(read_json(join(url, "lock.json")))
    return later if later is not None and later["beat"] != lock["beat"] else None


class RunLock:
    """Context manager that holds a run directory.

    Raises:
        LockedError: on entering, when another run is alive in it.
    """

    def __init__(self, url: str) -> None:
        self.url, self.path = url, join(url, "lock.json")
        self.owner = uuid.uuid4().hex
        self.lost = threading.Event()
        self._stop = threading.Event()
        self._started = time.time()
        self._thread = threading.Thread(target=self._keep, name="run-lock", daemon=True)

    def _state(self) -> str:
        state = {
            "owner": self.owner,
            "machine": _machine(),
            "pid": os.getpid(),
            "started": self._started,
            "beat": time.time(),
        }
        return json.dumps(state)

    def _write(self) -> None:
        write_text(self.path, self._state())

    def _refuse(self, lock: dict[str, Any]) -> LockedError:
        age = max(0, round(time.time() - float(lock["beat"])))
        return LockedError(
            f"{self.url}: another run is at work here (process {lock['pid']} on {lock['machine'].split()[0]}, "
            f"last seen {age} s ago); wait for it, or stop it and run again: a dead run's directory is free after {STALE:.0f} s"
        )

    def __enter__(self) -> RunLock:
        local = local_path(self.path)
        if not (self._create() if local is None else self._claim(str(local))):
            if (lock := _watched_holder(self.url)) is not None:
                raise self._refuse(lock)
            self._write()
            # No exclusive create here: of two that write at once, the one whose lock is there a moment later
            # has it.
            time.sleep(1.0)
            lock = read_json(self.path)
            if not isinstance(lock, dict) or lock.get("owner") != self.owner:
                raise self._refuse(
                    lock
                    if isinstance(lock, dict) and "beat" in lock
                    else {"pid": "?", "machine": "?", "beat": time.time()}
                )
        self._thread.start()
        return self

    def _create(self) -> bool:
        """Take the lock of an object store that makes objects only where there are none.

        A dead run's lock is replaced by whoever has made the claim on it, an object named after its owner;
        a claim is given up when it is as old as a dead run's lock.

        Returns:
            False where the store has no such call.
        """
        fs, path = filesystem(self.path)
        for _ in range(3):  # the lock may go while it is looked at
            # Looked at first: a store that pays no heed to the condition would replace a living run's lock.
            if (living := _watched_holder(self.url)) is not None:
                raise self._refuse(living)
            made = create(fs, path, self._state().encode())
            if made is None:
                return False
            lock = _parse(read_json(self.path))
            if lock is not None and lock["owner"] == self.owner:  # made, or only the answer was lost
                return True
            if not made and fs.exists(path) and _watched_holder(self.url) is None:
                self._replace(lock["owner"] if lock is not None else "none")
                return True
        raise LockedError(f"{self.url}: another run is just starting here; wait for it")

    def _replace(self, dead: str) -> None:
        """Replace the lock of a dead run in an object store; of several that try, let one through."""
        claim = f"{self.path}.claim-{dead}"
        fs, path = filesystem(claim)
        if create(fs, path, self._state().encode()) is False:
            other = _parse(read_json(claim))
            if other is None or other["owner"] != self.owner:
                if other is not None and time.time() - float(other["beat"]) < STALE:
                    raise LockedError(f"{self.url}: another run is just starting here; wait for it")
                write_text(claim, self._state())
        try:
            # Whoever held the claim before may have replaced the lock.
            if (lock := _watched_holder(self.url)) is not None:
                raise self._refuse(lock)
            self._write()
        finally:
            remove(claim)

    def _claim(self, path: str) -> bool:
        """Of several runs that find a dead or no lock, let one through: who holds the kernel's lock of a file
        beside it decides.

        Returns:
            False where the file system has no such locks.
        """
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with _exclusive(f"{path}.claim") as held:
            if held is None:
                return False
            if (lock := _watched_holder(self.url)) is not None:
                raise self._refuse(lock)
            if not held:
                raise LockedError(f"{self.url}: another run is just starting here; wait for it")
            self._write()
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        try:
            lock = read_json(self.path)
            if isinstance(lock, dict) and lock.get("owner") == self.owner:
                remove(self.path)
        except OSError:
            # The storage is away: the lock is a dead run's in half a minute, and what the run has to say
            # matters more.
            return

    def _keep(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            try:
                lock = read_json(self.path)
                if isinstance(lock, dict) and lock.get("owner") != self.owner:
                    self.lost.set()
                    return
                self._write()
            except OSError:
                # The next beat tries again; if the store stays away for long, others may take over and
                # `check` tells.
                continue

    def check(self) -> None:
        """Raise if the lock was taken over (this process was stopped for longer than a stale lock lasts).

        Raises:
            LockedError: another run holds the directory now.
        """
        if self.lost.is_set():
            raise LockedError(
                f"{self.url}: another run has taken this directory over while this one stood still; this one stops"
            )


@contextlib.contextmanager
def _exclusive(path: str) -> Iterator[bool | None]:
    """Hold a file's kernel lock, which goes with the process: True, False if another process has it, None
    where there are none.

    `filelock` cannot say that a file system has no such locks, and leaves its file behind in the run directory.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                yield None
                return
            yield False
            return
        # Whoever held it before has deleted the file when done: the lock counts on the file that is there
        # now.
        try:
            same = os.fstat(descriptor).st_ino == os.stat(path).st_ino
        except FileNotFoundError:
            same = False
        try:
            yield same
        finally:
            if same:
                os.unlink(path)
    finally:
        os.close(descriptor)
