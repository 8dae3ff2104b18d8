"""A process above the one that works: Ray's core may end the latter without a word, with whatever exit code it likes.

The process above does nothing but wait. It passes signals on, and where the work has ended in the middle of Ray, or in
the middle of an interruption, it says so with the right exit code. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

#: What the working process tells: Ray is in use, it is no more, a signal has arrived, this is the end (digits after it
#: are the exit code).
RAY, NO_RAY, SIGNALLED, END = b"R", b"r", b"s", b"e"
#: Signals that end a command.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds in which the working process says that a signal has reached it too (a group was signalled).
ARRIVAL = 0.3
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: The write end of the pipe to the process above; empty where there is none.
_above: list[int] = []
#: Bytes that both processes share for the name of the file that is being read: its length, and its text.
READING = 1 << 13
_shared: list[mmap.mmap] = []


@dataclass(frozen=True)
class Ended:
    """End of the working process that came without a word of its own.

    Attributes:
        code: exit code, or the negative number of the signal that ended it.
        in_ray: Ray was in use.
        asked: somebody had asked for the end by a signal.
        reading: the file that was being read, "" if none was.
    """

    code: int
    in_ray: bool
    asked: bool
    reading: str


def tell(what: bytes) -> None:
    """Tell the process above, if there is one; safe in a signal handler."""
    for pipe in _above:
        with contextlib.suppress(OSError):
            os.write(pipe, what)


def tell_reading(url: str) -> None:
    """Let the process above know which file is being read from now on, "" for none; a few microseconds."""
    for shared in _shared:
        text = url.encode(errors="replace")[: READING - 2]
        shared[: len(text) + 2] = len(text).to_bytes(2, "big") + text


def supervised(work: Callable[[], int], lost: Callable[[Ended], int]) -> int:
    """Do work in a child of this process.

    Where that cannot be (no `fork`, other threads), the work is done here. Ray's core may end the child after the
    work has ended, too: the exit code of work that has failed stays.

    Args:
        work: gives the exit code.
        lost: called here if the child ends without having returned from ``work``; gives the exit code.

    Returns:
        The exit code. In the child, too: both go on to the end of the program.
    """
    if not hasattr(signal, "sigwaitinfo") or not hasattr(os, "fork") or threading.active_count() > 1:
        return work()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    reading, writing = os.pipe()
    waited = {*SIGNALS, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    own = os.getpid()
    shared = mmap.mmap(-1, READING)
    _adopt()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _above.append(writing)
        _shared.append(shared)
        _die_with(own)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end = END
        try:
            code = work()
            end += b"%d" % code
            return code
        finally:
            tell(end)
    os.close(writing)
    try:
        ended, told = _wait(child, reading, waited)
    finally:
        os.close(reading)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    failed = re.search(END + rb"([1-9]\d*)", told)
    if END in told and ended >= 0 and failed is None:
        return ended
    _end_orphans()
    if failed is not None:
        return int(failed[1])
    size = int.from_bytes(shared[:2], "big")
    return lost(Ended(ended, _in_ray(told), SIGNALLED in told, shared[2 : 2 + size].decode(errors="replace")))


def end_as(code: int) -> int:
    """End this process by the signal that ended the other, or return its exit code."""
    if code < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _end_orphans() -> None:
    """End what a working process has left behind: the kernel has given it to this process (`_adopt`)."""
    from pipelines.monitoring.worker_startup import children

    for pid, _ in children(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _adopt() -> None:
    """Become the parent of processes below this one whose own parent ends, where the kernel can do that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _die_with(parent: int) -> None:
    """Let the kernel end this process with its parent, where it can: a killed command leaves nothing running."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _in_ray(told: bytes) -> bool:
    return told.rfind(RAY) > told.rfind(NO_RAY)


def _wait(child: int, pipe: int, waited: set[signal.Signals]) -> tuple[int, bytes]:
    """Pass signals on until the child ends; return its exit code and what it has told."""
    told = b""
    while True:
        found = signal.sigwaitinfo(waited)
        if found.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == child:
                return os.waitstatus_to_exitcode(status), told + _read(pipe, 0)
            continue
        # A terminal signals the whole group. Somebody else may have meant this process alone.
        told += _read(pipe, ARRIVAL if found.si_code <= 0 else 0)
        if found.si_code <= 0 and SIGNALLED not in told:
            os.kill(child, found.si_signo)
        told += SIGNALLED


def _read(pipe: int, patience: float) -> bytes:
    """Read what is in the pipe, or comes within some seconds."""
    found = b""
    while select.select([pipe], [], [], patience if not found else 0)[0]:
        some = os.read(pipe, 1 << 12)
        if not some:
            break
        found += some
    return found
