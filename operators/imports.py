"""Guard for libraries that run programs while they are imported."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_programs() -> Iterator[None]:
    """Refuse to start programs from this thread, as if none were installed.

    PySceneDetect runs ``ffmpeg`` when it is imported. In a worker that is a background process group of the
    user's terminal, a program that touches the terminal is stopped by the kernel, and the worker with it.
    """
    importing, original = threading.get_ident(), subprocess.Popen

    class Refusing(original):  # type: ignore[misc, valid-type]
        def __init__(self, args: Any, *more: Any, **options: Any) -> None:
            if threading.get_ident() == importing:
                raise FileNotFoundError(f"{args!r} is not run while a library is imported")
            super().__init__(args, *more, **options)

    subprocess.Popen = Refusing  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        subprocess.Popen = original  # type: ignore[misc]
