"""`--log-file`: all messages of a command, those that the terminal does not show too, appended to one file
with times.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operators.storage.errors import refusal
from operators.storage.redact import redact
from pipelines.errors import UsageError

#: Logger of the file: steps, progress, notes and failures.
LOGGER = logging.getLogger("retalk")
LOGGER.addHandler(logging.NullHandler())  # messages for the user are printed
#: Beginning of a line of the file.
_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")


class _Redacting(logging.Formatter):
    """No secret of a URL reaches the file, whoever has logged it."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _is_other_file(path: Path) -> bool:
    """True for a file with something else in it than a log: media, a manifest."""
    if not path.exists() or path.is_char_device() or path.is_fifo():
        return False
    with path.open("rb") as file:
        start = file.read(64)
    return bool(start) and not _LINE.match(start)


@contextmanager
def command_log(path: str | None) -> Iterator[None]:
    """Append to a file what is logged while the context lasts, and how it ends. None: nothing is written.

    Warnings of any library are written too.

    Raises:
        UsageError: the file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        if "://" in path:
            raise UsageError(f"--log-file {path}: is written to a file of this machine, no URL")
        if Path(path).is_dir():
            raise UsageError(f"--log-file {path}: is a folder; give the name of a file in it")
        if _is_other_file(Path(path)):
            raise UsageError(f"--log-file {path}: exists and is no log of retalk; choose another name")
        if not (folder := Path(path).absolute().parent).is_dir():
            raise UsageError(f"--log-file {path}: there is no folder {folder}")
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"--log-file {path}: cannot be written ({refusal(problem)})") from problem
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level, propagate = LOGGER.level, LOGGER.propagate
    root = logging.getLogger()
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.addHandler(handler)
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        LOGGER.info("%s", " ".join(sys.argv))
        yield
    except KeyboardInterrupt:
        LOGGER.warning("interrupted")
        raise
    except BaseException as problem:
        LOGGER.error("%s", "".join(traceback.format_exception(problem)).rstrip())
        raise
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate
        handler.close()
