"""Features of pictures for FID, by pytorch-fid's convention (0.3.0): Inception's pool3 of whole pictures.

A set's FID is `operators.evaluation.frechet.frechet_distance` of two `InceptionStatistics`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from operators.evaluation.frechet import FeatureStatistics

#: Length of a feature.
SIZE = 2048


def inception_features(network: nn.Module, pictures: Iterable[np.ndarray], batch: int = 16) -> np.ndarray:
    """Return float32[n, 2048] of pictures uint8[h, w, 3] RGB; consecutive ones of equal size share a batch.

    Args:
        network: `retalk_models.load("inception")` on its device.
        pictures: whole frames, as the paper's FID takes them; memory holds one batch.
        batch: pictures at a time.
    """
    device = next(network.parameters()).device
    found, held = [np.zeros((0, SIZE), np.float32)], list[np.ndarray]()

    def run() -> None:
        stacked = torch.from_numpy(np.stack(held)).to(device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            found.append(network(stacked).cpu().numpy())
        held.clear()

    for picture in pictures:
        if held and (len(held) == batch or held[0].shape != picture.shape):
            run()
        held.append(picture)
    if held:
        run()
    return np.concatenate(found)


class InceptionStatistics:
    """Mean and covariance of the features of a stream of pictures.

    Args:
        network: `retalk_models.load("inception")` on its device.
        batch: pictures at a time.
    """

    def __init__(self, network: nn.Module, batch: int = 16) -> None:
        self._network, self._batch = network, batch
        self._held: list[np.ndarray] = []
        self._statistics = FeatureStatistics(SIZE)

    def add(self, picture: np.ndarray) -> None:
        """Take in uint8[h, w, 3] RGB."""
        self._held.append(picture)
        if len(self._held) == self._batch:
            self._run()

    @property
    def statistics(self) -> FeatureStatistics:
        """The statistics of all pictures so far; shards of a set merge."""
        self._run()
        return self._statistics

    def _run(self) -> None:
        if self._held:
            self._statistics.add(inception_features(self._network, self._held, self._batch))
            self._held.clear()
