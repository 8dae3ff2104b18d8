"""Fractions of a GPU for actors by their memory. Pure arithmetic without imports: `benchmarks.gpu` uses it on machines
that have nothing else.
"""

from __future__ import annotations

#: Shares of a GPU that pools may have, the largest first.
SHARES = (1.0, 0.5, 0.33, 0.25, 0.2, 0.125, 0.1)
#: Room over the measured memory of an actor on a GPU: other footage, other allocations.
GPU_ROOM = 1.25


def share_of(mib: float, gpu_mib: float) -> float | None:
    """The smallest share of a GPU that holds an actor of so many MiB, with room; None: it does not fit."""
    fitting = [share for share in SHARES if share >= mib * GPU_ROOM / gpu_mib]
    return fitting[-1] if fitting else None


def actors_of(gpus: float, work: float, share: float) -> int:
    """Actors of a pool that has a part of the GPUs' work, 0 ... 1; one at least."""
    return max(1, int(gpus * work / share))
