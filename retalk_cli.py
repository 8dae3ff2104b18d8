"""Console script `retalk`: checks that the packages it will import are ours, then runs the command line of
`pipelines`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

#: Exit code of an interrupted command (`pipelines.errors`).
INTERRUPTED = 130


def _end(*_: Any) -> None:
    """End at once: nothing is there yet that would have to be tidied up."""
    os.write(2, b"interrupted: run the same command again to resume\n")
    os._exit(INTERRUPTED)


def _open_standard_streams() -> None:
    """Put nothing in the place of standard streams that are closed: files that are opened later would get
    their numbers, and what is meant for the terminal would go into them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def main() -> int:
    """Run the command line; exit code 2 if another project's package is found in place of one of ours."""
    _open_standard_streams()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from retalk_models.installation import ForeignPackageError, check_packages

    try:
        check_packages()
    except ForeignPackageError as problem:
        print(f"retalk: {problem}", file=sys.stderr)
        return 2
    from pipelines.cli.main import main as run

    code = run(supervise=True)
    if code == INTERRUPTED:  # a second Ctrl-C meets the end of the interpreter
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(main())
