"""Wav2Lip generator, the baseline: audio and a masked face -> the face that speaks, 96x96 (Prajwal et al.,
2020).

Described in docs/networks.md#wav2lip. Attribute names are the official checkpoint's keys
(``wav2lip_gan.pth``, 352 entries).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from retalk_models.layers.conv import ConvBlock, audio_encoder


def down(cin: int, cout: int, num_res: int) -> nn.Sequential:
    """Half the size, then residual blocks."""
    return nn.Sequential(
        ConvBlock(cin, cout, stride=2), *(ConvBlock(cout, cout, residual=True) for _ in range(num_res))
    )


def up(cin: int, cout: int, num_res: int) -> nn.Sequential:
    """Twice the size, then residual blocks."""
    first = ConvBlock(cin, cout, stride=2, transposed=True)
    return nn.Sequential(first, *(ConvBlock(cout, cout, residual=True) for _ in range(num_res)))


class Wav2Lip(nn.Module):
    """Lip-sync baseline, 36.3 M parameters."""

    HALF: ClassVar = True

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder_blocks = nn.ModuleList(
            [
                nn.Sequential(ConvBlock(6, 16, 7, padding=3)),  # 96 px
                down(16, 32, 2),
                down(32, 64, 3),
                down(64, 128, 2),
                down(128, 256, 2),
                down(256, 512, 1),  # 3 px
                nn.Sequential(ConvBlock(512, 512, padding=0), ConvBlock(512, 512, 1, padding=0)),  # 1 px
            ]
        )
        self.audio_encoder = audio_encoder()
        self.face_decoder_blocks = nn.ModuleList(
            [
                nn.Sequential(ConvBlock(512, 512, 1, padding=0)),
                nn.Sequential(
                    ConvBlock(1024, 512, padding=0, transposed=True), ConvBlock(512, 512, residual=True)
                ),  # 3 px
                up(1024, 512, 2),
                up(768, 384, 2),
                up(512, 256, 2),
                up(320, 128, 2),
                up(160, 64, 2),  # 96 px
            ]
        )
        self.output_block = nn.Sequential(ConvBlock(80, 32), nn.Conv2d(32, 3, 1))

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Make faces speak.

        Args:
            mel: (B, 1, 80, 16) float, log-mel windows in -4..4.
            faces: (B, 6, 96, 96) float 0..1, in BGR as the original was trained: the face with its lower half
                0, then a reference.

        Returns:
            (B, 3, 96, 96) float32 0..1, BGR like the input.
        """
        x, maps = faces, []
        for block in self.face_encoder_blocks:
            x = block(x)
            maps.append(x)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), maps.pop()], dim=1)
        return torch.sigmoid(self.output_block(x).float())
