"""LPIPS of a picture and the true one (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric"), version 0.1 with AlexNet.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

import retalk_models
from operators.evaluation.metric import SegmentMetric
from operators.media.frames import Frame
from operators.segment import Segment
from retalk_models.registry.registry import home_registry

if TYPE_CHECKING:
    from torch import nn


def lpips(network: nn.Module, result: np.ndarray, truth: np.ndarray) -> float:
    """Return the perceptual distance of two pictures; lower is better.

    Args:
        network: `retalk_models.load("lpips")` on its device; needs `alexnet-owt-7be5be79.pth` and `lpips-alex.pth`.
        result: uint8[h, w, 3] RGB, at least 64 pixels a side.
        truth: the same shape.

    Returns:
        0 for equal pictures, about 0.1 for good copies, seldom above 1.

    Raises:
        ValueError: the pictures do not pair up.
    """
    if result.shape != truth.shape or result.ndim != 3:
        raise ValueError(f"pictures of shapes {result.shape} and {truth.shape} do not pair up")
    # Metrics that are not asked for are imported too, where nobody needs torch.
    import torch

    device = next(network.parameters()).device
    pair = torch.from_numpy(np.stack([result, truth])).to(device).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return float(network(pair[:1], pair[1:])[0])


class Lpips(SegmentMetric):
    """LPIPS of whole finished frames against the source's, every 25th: for videos that are dubbed with their own
    sound.

    Without its files the metric has no value, and the note names them and the command that fetches them.

    Args:
        weights: home of other model files than the official ones.
    """

    name = "lpips"
    per = "shot"
    better = "lower"
    models = ("alexnet-owt-7be5be79.pth", "lpips-alex.pth")
    on = False
    every = 25

    def __init__(self, weights: str = "") -> None:
        self._weights = weights

    @functools.cached_property
    def _network(self) -> nn.Module:
        return retalk_models.load("lpips", registry=home_registry(self._weights))

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Return the distance; NaN where nothing was drawn."""
        del segment, index
        return lpips(self._network, frame.rgb(), frame.original.rgb()) if frame.drawn else math.nan
