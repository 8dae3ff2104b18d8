"""``retalk`` as the drills start it: the same command line, in a process (and Ray workers) that know ``faulty://``."""

from __future__ import annotations

import sys

from pipelines.cli import main
from tests.drills import faulty

HOOK = "tests.drills.faulty.register"


def with_hook() -> None:
    """Have every Ray worker of this process register the test file system when it starts."""
    import ray

    real = ray.init

    def init(*arguments: object, **options: object) -> object:
        return real(*arguments, **{**options, "runtime_env": {"worker_process_setup_hook": HOOK}})

    ray.init = init


if __name__ == "__main__":
    faulty.register()
    with_hook()
    sys.exit(main())
