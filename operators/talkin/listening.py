"""The sound that the expression network hears: mel columns around each frame of 25 a second."""

from __future__ import annotations

import numpy as np

from operators.retalk.mel import CHUNK, COLUMNS_PER_SECOND

#: Frames a second of the network.
RATE = 25


def centred_chunks(mel: np.ndarray, frames: int, first: int = 0) -> np.ndarray:
    """Return the 16 mel columns around the middle of each frame; beyond the ends the last column is repeated.

    Args:
        mel: float[M, 80], 80 columns a second.
        frames: number n.
        first: column at the first frame's start.

    Returns:
        float32[n, 80, 16].
    """
    middle = first + np.floor((np.arange(frames) + 0.5) * COLUMNS_PER_SECOND / RATE + 1e-6).astype(np.int64)
    columns = middle[:, None] - CHUNK // 2 + np.arange(CHUNK)
    found = mel[np.clip(columns, 0, len(mel) - 1)]
    return np.ascontiguousarray(found.transpose(0, 2, 1), np.float32)
