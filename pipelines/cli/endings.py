"""Ends of a command: mistakes of the user in one line, mistakes of ours in full, and ends that came from outside."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import signal
import sys
import traceback

from pipelines.cli.interruption import last_line, say_interrupted
from pipelines.errors import BROKEN, INTERRUPTED, RAY_LOST, USAGE, UsageError
from pipelines.monitoring.supervision import Ended, end_as
from pipelines.monitoring.terminal import shows_bar

#: Of a standard stream that takes nothing more.
UNPRINTABLE = (errno.ENOSPC, errno.EIO, errno.EBADF)

#: What a terminal is told to show the cursor again that a bar has hidden (DECTCEM).
SHOW_CURSOR = "\x1b[?25h"

#: Signals of a process that has done what the processor or the C library forbids.
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)


def lost(args: argparse.Namespace, ended: Ended) -> int:
    """Say how a command has ended that could not say it itself, and return its exit code."""
    if shows_bar(sys.stderr) and not getattr(args, "quiet", False):  # its bar could not be taken away
        with contextlib.suppress(OSError):
            print(SHOW_CURSOR, file=sys.stderr, flush=True)
    if ended.asked:
        say_interrupted(last_line(args.command))
        code, error = INTERRUPTED, "interrupted"
    elif ended.in_ray and ended.code != -signal.SIGKILL:
        from pipelines.execution.ray_session import AGAIN

        code = RAY_LOST
        error = f"Ray has ended by itself, and this command with it (was it killed, or is this machine out of memory?). {AGAIN}"
        say_interrupted(f"retalk {args.command}: {error}")
        if getattr(args, "notify", None):
            from pipelines.monitoring.notify import post

            summary = {"command": args.command, "outcome": "error", "exit_code": code, "error": error}
            if undelivered := post(args.notify, summary):
                say_interrupted(f"note: the summary was not delivered: {undelivered}")
    elif -ended.code in CRASHES:
        from operators.storage.redact import redact

        code, what = BROKEN, signal.Signals(-ended.code).name
        culprit = (
            f" while {redact(ended.reading)} was being read: is the file damaged?" if ended.reading else ""
        )
        error = f"a library has crashed this process ({what}){culprit or '.'} Run the same command again to resume"
        say_interrupted(f"retalk {args.command}: {error}")
    else:
        return end_as(ended.code)
    if getattr(args, "json", False):
        with contextlib.suppress(OSError):
            print(json.dumps({"exit_code": code, "error": error}), flush=True)
    return code


def check_texts(args: argparse.Namespace) -> None:
    """Refuse names that cannot be written down, and an empty output, which would be the working directory.

    A file's name that is no text in the terminal's encoding arrives with surrogates in it.

    Raises:
        UsageError: naming the text or the option.
    """
    for value in vars(args).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any("\ud800" <= char <= "\udfff" for char in text):
                shown = text.encode("ascii", "backslashreplace").decode()
                raise UsageError(
                    f"{shown}: is not UTF-8 text; rename the file, or set a UTF-8 locale (LC_ALL=C.UTF-8)"
                )
    for name in ("output", "directory"):
        if isinstance(text := getattr(args, name, None), str) and not text.strip():
            option = "-o" if name == "output" else "DIR"
            raise UsageError(f"{option} is empty: give a name (is a variable of your shell unset?)")


def told(problem: Exception, args: argparse.Namespace) -> tuple[int, str]:
    """Print an error: in one line what the user can mend, in full what is a mistake of ours.

    Returns:
        The exit code, and the error in one line.
    """
    from operators.storage.errors import StorageError
    from operators.storage.redact import redact
    from pipelines.execution.ray_session import RayLostError, RayStartError
    from pipelines.monitoring.terminal import tell
    from retalk_models.installation import explain_import_error
    from retalk_models.registry.errors import WeightsError

    # Libraries may have put secrets into their words.
    trace = redact("".join(traceback.format_exception(problem)))
    if isinstance(problem, ImportError) and (text := explain_import_error(problem)):
        tell(f"retalk {args.command}: {text}", sys.stderr)
        return USAGE, text
    text = redact(str(problem))
    if isinstance(problem, RayLostError):
        start = isinstance(problem, RayStartError)
        hint = ". Nothing has run: run the same command again, or with --runner local" if start else ""
        tell(f"retalk {args.command}: {text}{hint}", sys.stderr)
        return RAY_LOST, f"{text}{hint}"
    if isinstance(problem, OSError) and problem.errno in UNPRINTABLE and problem.filename is None:
        tell(f"retalk {args.command}: what it prints cannot be written: {problem.strerror}", sys.stderr)
        return BROKEN, text
    if isinstance(problem, PermissionError):
        text = redact(f"{problem.filename or 'a file'}: {problem.strerror}; check the rights of the folder")
    elif not isinstance(problem, (UsageError, StorageError, WeightsError)):
        print(trace, file=sys.stderr)
        return BROKEN, f"{type(problem).__name__}: {text}"
    tell(f"retalk {args.command}: {text}", sys.stderr)
    if getattr(args, "verbose", False):
        print(trace, file=sys.stderr)
    return USAGE, text
