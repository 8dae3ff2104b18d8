"""Sync expert: five lower halves of a face and 0.2 s of sound -> how well they agree.

The pair of towers of Wav2Lip's expert (Prajwal et al., 2020) after SyncNet (Chung and Zisserman, 2016), of this
project's blocks; its checkpoints are this project's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.conv import ConvBlock, audio_encoder

#: Frames that are looked at together, 0.2 s at 25 fps.
FRAMES = 5


def face_encoder(channels: Sequence[int]) -> nn.Sequential:
    """Return the tower that sees: (B, 15, 48, 96) -> (B, channels[-1], 1, 1).

    Args:
        channels: of five levels, 48x96 down to 3x3.
    """
    first, second, third, fourth, fifth = channels
    same = {"residual": True}
    return nn.Sequential(
        ConvBlock(3 * FRAMES, first, 7, padding=3),
        ConvBlock(first, second, 5, stride=(1, 2)),  # 46x47
        *(ConvBlock(second, second, **same), ConvBlock(second, second, **same)),
        ConvBlock(second, third, stride=2),  # 23x24
        *(ConvBlock(third, third, **same), ConvBlock(third, third, **same)),
        ConvBlock(third, fourth, stride=2),  # 12x12
        *(ConvBlock(fourth, fourth, **same), ConvBlock(fourth, fourth, **same)),
        ConvBlock(fourth, fifth, stride=2),  # 6x6
        *(ConvBlock(fifth, fifth, **same), ConvBlock(fifth, fifth, **same)),
        ConvBlock(fifth, fifth, stride=2),  # 3x3
        ConvBlock(fifth, fifth, padding=0),
        ConvBlock(fifth, fifth, 1, padding=0),
    )


def lower_halves(faces: Tensor) -> Tensor:
    """(B, 5, 3, H, W) faces -> (B, 15, H/2, W), as the expert sees them."""
    return faces[..., faces.shape[-2] // 2 :, :].flatten(1, 2)


class SyncExpert(nn.Module):
    """Two towers; there is agreement where their features point the same way.

    Args:
        channels: of the levels of both towers, the full size first; the last is the number of features.
        motion: see what moves within the five frames alone (their mean is taken out). Little data suffices then: whose face
            it is need not be learned to be ignored.
    """

    def __init__(self, channels: Sequence[int] = (32, 64, 128, 256, 512), motion: bool = False) -> None:
        super().__init__()
        self.motion = motion
        self.face_encoder = face_encoder(channels)
        self.audio_encoder = audio_encoder(channels)

    def faces(self, faces: Tensor) -> Tensor:
        """(B, 5, 3, 96, 96) RGB 0..1 -> (B, F) of unit length, no value below 0."""
        if self.motion:
            faces = faces - faces.mean(1, keepdim=True)
        return F.normalize(self.face_encoder(lower_halves(faces)).flatten(1).float(), dim=1)

    def sound(self, mel: Tensor) -> Tensor:
        """(B, 1, 80, 16) log-mel window from the first of the five frames on -> (B, F) of unit length, no value below 0."""
        return F.normalize(self.audio_encoder(mel).flatten(1).float(), dim=1)

    def forward(self, faces: Tensor, mel: Tensor) -> Tensor:
        """Return the cosine of both towers' features, (B,), 0 (unlike) to 1 (in sync)."""
        return (self.faces(faces) * self.sound(mel)).sum(1)
