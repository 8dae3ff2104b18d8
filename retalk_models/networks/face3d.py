"""3DMM regressor: a face crop -> 257 coefficients (Deep3DFaceRecon).

Described in docs/networks.md#face3d. Attribute names are the official checkpoint's keys
(``face3d_pretrain_epoch_20.pth``, under ``net_recon``).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from retalk_models.layers.resnet import ResNet50

#: Coefficients in the order of the output: identity, expression, texture, angles, lighting, translation in
#: the plane, depth.
COEFFICIENTS = {"id": 80, "exp": 64, "tex": 80, "angle": 3, "gamma": 27, "trans_xy": 2, "trans_z": 1}


class Face3D(nn.Module):
    """ResNet-50 and seven linear heads, 24.0 M parameters."""

    HALF: ClassVar = True

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(2048, size, 1) for size in COEFFICIENTS.values())

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 224, 224) float RGB 0..1, aligned by five landmarks -> (B, 257) float32 in the order of
        `COEFFICIENTS`.
        """
        pooled = self.backbone(image)[-1].mean(dim=(2, 3), keepdim=True)
        return torch.cat([head(pooled) for head in self.final_layers], dim=1).flatten(1).float()
