"""Runs of a boolean mask, and the smooth step between 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Maximal [start, stop) of True in bool[T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def smoothstep(value: Any) -> Any:
    """3t² - 2t³ of a number or an array clipped to 0 ... 1, in its own dtype."""
    t = np.clip(value, 0, 1)
    steps = t * -2
    steps += 3
    steps *= t
    steps *= t
    return steps
