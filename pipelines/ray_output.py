"""What Ray and its workers print goes into a file: the terminal shows our own lines only."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


@contextmanager
def kept_output() -> Iterator[Path]:
    """Redirect file descriptors 1 and 2 into a temporary file, and Ray's own log messages too.

    `sys.stdout` and `sys.stderr` go on writing where they did. Not for what holds on to their old objects: such output is in the file.

    Yields:
        The file; it is deleted at the end if it is empty, else the caller decides.
    """
    descriptor, name = tempfile.mkstemp(prefix="retalk-ray-", suffix=".log")
    path = Path(name)
    handler = logging.FileHandler(path, encoding="utf-8")
    ray_logger = logging.getLogger("ray")
    propagated = ray_logger.propagate
    ray_logger.addHandler(handler)
    ray_logger.propagate = False
    try:
        with contextlib.ExitStack() as stack:
            for stream, number in (("stdout", 1), ("stderr", 2)):
                stack.enter_context(_redirected(stream, number, descriptor))
            yield path
    finally:
        ray_logger.propagate = propagated
        ray_logger.removeHandler(handler)
        handler.close()
        os.close(descriptor)
        if path.exists() and not path.stat().st_size:
            path.unlink()


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


def keep_worker_lines(path: Path, show: bool) -> None:
    """Write the lines that Ray's workers print into a file; called when Ray is connected.

    Args:
        path: the file.
        show: also print them on the terminal, as Ray does by itself.
    """
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

    def write(data: dict[str, Any]) -> None:
        name = data.get("actor_name") or data.get("task_name") or "worker"
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.writelines(f"({name} pid={data.get('pid')} ip={data.get('ip')}) {line}\n" for line in data.get("lines", ()))

    if not show:
        dispatcher.remove_handler("ray_print_logs")
    dispatcher.add_handler("retalk", write)


def drop_worker_lines() -> None:
    """The end of `keep_worker_lines`."""
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

    dispatcher.remove_handler("retalk")
