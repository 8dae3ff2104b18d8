"""Padding by reflection and repetition in the layout that a picture has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def padded(x: Tensor, left: int, right: int, top: int, bottom: int, mode: str) -> Tensor:
    """`F.pad` of pictures, without a change of layout on a GPU.

    There the kernels for pictures know one layout: one with the channel innermost is copied before and after. Those
    for volumes do not care which axis is called what.

    Args:
        x: (B, C, H, W).
        left, right, top, bottom: samples to add.
        mode: ``reflect``, ``replicate`` or ``constant`` (zeros).
    """
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    if mode == "constant" or not (x.is_cuda and last):
        return F.pad(x, (left, right, top, bottom), mode=mode)
    return as_volume(x, left, right, top, bottom, mode)


def as_volume(x: Tensor, left: int, right: int, top: int, bottom: int, mode: str) -> Tensor:
    """`padded` by the kernel for volumes: height, width and channel are its three axes."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, left, right, top, bottom), mode=mode).permute(0, 3, 1, 2)
