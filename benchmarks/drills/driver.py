"""``retalk`` as the drills start it: the same command line, in a process (and Ray workers) that know
``faulty://``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from pipelines.cli.main import main
from tests.drills import faulty

T = TypeVar("T")
HOOK = "tests.drills.faulty.register"


def with_hook() -> None:
    """Have every Ray worker of this process register the test file system when it starts."""
    import ray

    real = ray.init

    def init(*arguments: object, **options: object) -> object:
        return patiently(
            lambda: real(*arguments, **{**options, "runtime_env": {"worker_process_setup_hook": HOOK}})
        )

    ray.init = init


def patiently(start: Callable[[], T], tries: int = 4) -> T:
    """Start a Ray; try again where this machine is so busy that Ray gives up after its half minute."""
    while True:
        try:
            return start()
        except Exception as problem:
            tries -= 1
            if "timed out during startup" not in str(problem) or not tries:
                raise


if __name__ == "__main__":
    faulty.register()
    with_hook()
    sys.exit(main())
