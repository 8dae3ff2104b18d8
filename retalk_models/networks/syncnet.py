"""SyncNet: mouth clips and sound -> features that agree when both are in sync (Chung and Zisserman, 2016).

Described in docs/networks.md#syncnet. Attribute names are the keys of ``syncnet_v2.model`` (102 entries;
the file lacks ``num_batches_tracked``, which plays no part).
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fully_connected() -> nn.Sequential:
    """512 -> 1024 features."""
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncNet(nn.Module):
    """Two towers, 13.6 M parameters. There is no ``forward``: `forward_lip` and `forward_aud` run on their
    own.
    """

    ENTRIES: ClassVar = ("forward_lip", "forward_clip", "forward_lipfeat", "forward_aud")
    CONTIGUOUS: ClassVar = True

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *(nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(1)),
            *(nn.Conv2d(64, 192, 3, padding=1), nn.BatchNorm2d(192), nn.ReLU(), nn.MaxPool2d(3, (1, 2))),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.BatchNorm2d(384), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256, 512, (5, 4)), nn.BatchNorm2d(512), nn.ReLU()),
        )
        self.netfcaud = fully_connected()
        self.netfclip = fully_connected()
        window, halve = (1, 3, 3), (1, 2, 2)
        self.netcnnlip = nn.Sequential(
            *(
                nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2)),
                nn.BatchNorm3d(96),
                nn.ReLU(),
                nn.MaxPool3d(window, halve),
            ),
            *(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            nn.MaxPool3d(window, halve, padding=(0, 1, 1)),
            *(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            *(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            *(
                nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)),
                nn.BatchNorm3d(256),
                nn.ReLU(),
                nn.MaxPool3d(window, halve),
            ),
            *(nn.Conv3d(256, 512, (1, 6, 6)), nn.BatchNorm3d(512), nn.ReLU()),
        )

    def forward_aud(self, mfcc: Tensor) -> Tensor:
        """(B, 1, 13, 20) float, 13 cepstral coefficients of 20 windows 10 ms apart -> (B, 1024)."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1)).float()

    def forward_lipfeat(self, frames: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224) float BGR 0..255, five frames at 25 fps -> (B, 512), what `forward_lip` builds
        on.
        """
        return self.netcnnlip(frames).flatten(1).float()

    def forward_lip(self, frames: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224) float BGR 0..255, five frames at 25 fps -> (B, 1024)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1)).float()

    def forward_clip(self, frames: Tensor) -> Tensor:
        """(3, T, 224, 224) float BGR 0..255, T >= 5 consecutive frames -> (T - 4, 1024), what `forward_lip` gives for
        each five of them.

        Behind the first layer nothing looks along time, and the first sees five frames as fifteen channels: 2-D
        convolutions with channels last, on the CPU 1.3 times as fast as 3-D ones.
        """
        length, layers = frames.shape[1] - 4, list(self.netcnnlip)
        windows = torch.cat([frames[:, start : start + length] for start in range(5)]).transpose(0, 1)
        x = windows.contiguous(memory_format=torch.channels_last)
        for layer in layers:
            x = _over_frames(layer, x)
        return self.netfclip(x.flatten(1)).float()


def _over_frames(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer of `SyncNet.netcnnlip` for frames (T, C, H, W), of which a convolution along time finds its five in C."""
    if isinstance(layer, nn.Conv3d):
        weight = layer.weight.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, layer.bias, layer.stride[1:], layer.padding[1:])  # type: ignore[arg-type]
    if isinstance(layer, nn.BatchNorm3d):
        return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)
    if isinstance(layer, nn.MaxPool3d):
        size, stride, padding = (
            value if isinstance(value, int) else value[1:]
            for value in (layer.kernel_size, layer.stride, layer.padding)
        )
        return F.max_pool2d(x, size, stride, padding)
    return cast(Tensor, layer(x))
