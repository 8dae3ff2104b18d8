"""Redirection of the output of Ray and its workers into a file: the terminal shows our own lines only."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO


@dataclass
class KeptOutput:
    """The file that Ray's output goes into. It is deleted at the end unless somebody keeps it.

    Attributes:
        path: of the file.
        kept: it stays.
    """

    path: Path
    kept: bool = False

    def keep(self) -> bool:
        """Let the file stay if anything is in it; returns whether it stays."""
        self.kept = self.path.exists() and self.path.stat().st_size > 0
        return self.kept


@contextmanager
def kept_output() -> Iterator[KeptOutput]:
    """Redirect file descriptors 1 and 2 into a temporary file, and Ray's own log messages too.

    `sys.stdout` and `sys.stderr` keep their targets. Code that holds their old objects writes into the file.
    """
    descriptor, name = tempfile.mkstemp(prefix="retalk-ray-", suffix=".log")
    output = KeptOutput(path := Path(name))
    handler = logging.FileHandler(path, encoding="utf-8")
    ray_logger = logging.getLogger("ray")
    propagated = ray_logger.propagate
    ray_logger.addHandler(handler)
    ray_logger.propagate = False
    try:
        with contextlib.ExitStack() as stack:
            for stream, number in (("stdout", 1), ("stderr", 2)):
                stack.enter_context(_redirected(stream, number, descriptor))
            yield output
    finally:
        ray_logger.propagate = propagated
        ray_logger.removeHandler(handler)
        handler.close()
        os.close(descriptor)
        if not output.kept:
            path.unlink(missing_ok=True)


@contextmanager
def _redirected(name: str, number: int, target: int) -> Iterator[None]:
    """Point a descriptor at a file, and the `sys` stream that writes to it at where it pointed before."""
    stream: TextIO | None = getattr(sys, name)
    try:
        kept = os.dup(number)
    except OSError:  # it is closed: nobody sees it
        yield
        return
    try:
        ours = stream is not None and stream.fileno() == number
    except (OSError, ValueError):  # captured by a test, or no real file
        ours = False
    if stream is not None:
        stream.flush()
    copy: TextIO | None = None
    if ours:
        copy = os.fdopen(os.dup(kept), "w", buffering=1, encoding="utf-8", errors="replace")
        setattr(sys, name, copy)
    os.dup2(target, number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        if copy is not None:
            if getattr(sys, name) is copy:
                setattr(sys, name, stream)
            with contextlib.suppress(OSError):  # the terminal is gone
                copy.close()


@contextmanager
def worker_lines_kept(path: Path | None, show: bool) -> Iterator[None]:
    """Write the lines that Ray's workers print, and Ray about them, into a file instead of on the terminal.

    Ray has no setting for it, only this internal function: where a version has no such function, the lines are
    printed.

    Args:
        path: the file; None: nothing is changed.
        show: print them too.
    """
    from ray._private import worker

    printed = getattr(worker, "print_worker_logs", None)
    if path is None or printed is None:
        yield
        return

    def write(data: dict[str, Any], *more: Any, **options: Any) -> None:
        name = data.get("actor_name") or data.get("task_name") or "worker"
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.writelines(
                f"({name} pid={data.get('pid')} ip={data.get('ip')}) {line}\n"
                for line in data.get("lines", ())
            )
        if show:
            printed(data, *more, **options)

    worker.print_worker_logs = write  # type: ignore[assignment]
    try:
        yield
    finally:
        worker.print_worker_logs = printed
