"""Console script `retalk`: checks that the packages it will import are ours, then runs the command line of
`pipelines`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def _end(*_: Any) -> None:
    """End at once: nothing is there yet that would have to be tidied up."""
    os.write(2, b"interrupted: run the same command again to resume\n")
    os._exit(130)


def main() -> int:
    """Run the command line; exit code 2 if another project's package is found in place of one of ours."""
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

    return run()


if __name__ == "__main__":
    sys.exit(main())
