"""Windows of a spectrogram, cut on the device where it lies."""

from __future__ import annotations

import torch
from torch import Tensor


def windows(spectrogram: Tensor, starts: Tensor, length: int, outside: float) -> Tensor:
    """Return [n, bands, length]: columns from each start on, the same numbers wherever it runs.

    Nothing waits for the device.

    Args:
        spectrogram: [bands, columns].
        starts: int64[n], on the same device; may lie outside.
        length: columns of a window.
        outside: value of columns that the spectrogram does not have.
    """
    columns = starts[:, None] + torch.arange(length, device=starts.device)
    last = spectrogram.shape[1] - 1
    found = spectrogram[:, columns.clamp(0, last)].permute(1, 0, 2)
    return found.masked_fill(((columns < 0) | (columns > last))[:, None], outside)
