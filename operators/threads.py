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
    # Only where a stage has brought them in: importing torch costs seconds. OpenCV ignores OMP_NUM_THREADS.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
