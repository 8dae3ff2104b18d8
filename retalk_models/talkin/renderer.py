"""The rendering network: paints the mouth region of a frame from what is around it, wanted landmarks and a reference
(docs/talkin.md#rendering). It knows no person.

B pictures of side S, F frames of a window around the one that is painted, pictures in 0 ... 1.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

#: Channels of a drawing of landmarks: lines, and the inside of the mouth.
SKETCH = 2


def _block(incoming: int, outgoing: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(incoming, outgoing, 3, stride, 1),
        nn.GroupNorm(8, outgoing),
        nn.SiLU(),
        nn.Conv2d(outgoing, outgoing, 3, 1, 1),
        nn.GroupNorm(8, outgoing),
        nn.SiLU(),
    )


class Renderer(nn.Module):
    """A U-Net that gives a colour and a gate: how much of it is shown over the reference.

    It starts as a copy of the reference and learns where that is wrong.

    Args:
        channels: of the first level, a multiple of 8; each further level has twice as many, up to 8 times.
        num_levels: halvings of the picture; its side must be a multiple of 2 ** num_levels.
        num_frames: F, odd.
    """

    def __init__(self, channels: int = 32, num_levels: int = 4, num_frames: int = 3) -> None:
        super().__init__()
        self.num_frames, self.num_levels = num_frames, num_levels
        widths = [channels * min(2**level, 8) for level in range(num_levels + 1)]
        self.first = _block(num_frames * (3 + SKETCH) + 3 + SKETCH + 1, widths[0])
        self.down = nn.ModuleList(_block(a, b, 2) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_block(b + a, a) for a, b in zip(reversed(widths[:-1]), reversed(widths[1:])))
        self.last = nn.Conv2d(widths[0], 4, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias[:3])
            nn.init.constant_(self.last.bias[3:], -3.0)

    def forward(
        self, frames: Tensor, sketches: Tensor, reference: Tensor, reference_sketch: Tensor, hole: Tensor
    ) -> Tensor:
        """Paint the middle frame of each window.

        Args:
            frames: float[B, F, 3, S, S]; what lies in the hole is not looked at.
            sketches: float[B, F, 2, S, S], drawings of the wanted landmarks.
            reference: float[B, 3, S, S], the same person's mouth from elsewhere.
            reference_sketch: float[B, 2, S, S], drawing of its landmarks.
            hole: float[S, S], 1 where it paints, 0 where the frame stays.

        Returns:
            float[B, 3, S, S].
        """
        middle = frames[:, self.num_frames // 2]
        around = (frames * (1 - hole)).flatten(1, 2)
        x = torch.cat(
            [
                around,
                sketches.flatten(1, 2),
                reference,
                reference_sketch,
                hole.expand(len(frames), 1, *hole.shape),
            ],
            1,
        )
        kept = [self.first(x * 2 - 1)]
        for down in self.down:
            kept.append(down(kept[-1]))
        x = kept.pop()
        for up in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = up(torch.cat([x, kept.pop()], 1))
        painted = self.last(x)
        gate = torch.sigmoid(painted[:, 3:])
        drawn = reference + gate * (torch.sigmoid(painted[:, :3]) - reference)
        return middle + hole * (drawn - middle)


class TemporalCritic(nn.Module):
    """Tells painted from real pairs of consecutive frames, patch by patch, knowing the landmarks.

    Args:
        channels: of the first level.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        widths = [2 * (3 + SKETCH), channels, 2 * channels, 4 * channels]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.utils.spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.utils.spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))

    def forward(self, pair: Tensor, sketches: Tensor) -> Tensor:
        """Return scores float[B, 1, S / 8, S / 8] of pairs float[B, 2, 3, S, S] with drawings float[B, 2, 2, S, S]."""
        scores: Tensor = self.layers(torch.cat([pair, sketches], 2).flatten(1, 2) * 2 - 1)
        return scores
