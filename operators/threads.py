"""Threads of the numeric libraries."""

from __future__ import annotations

import sys

import threadpoolctl


def single_thread() -> None:
    """Let the libraries that have been imported compute with one thread in this process.

    Convolutions and matrix products round otherwise with two threads than with one: a result would depend on
    the profile. A pool uses as many cores as it has actors.
    """
    threadpoolctl.threadpool_limits(1)
    if "torch" in sys.modules:
        # Only where a stage has brought it in: importing it costs seconds.
        sys.modules["torch"].set_num_threads(1)
