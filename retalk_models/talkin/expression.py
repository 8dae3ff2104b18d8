"""Sound to expression: a recurrent network whose answer depends on the words and not on the speaker (docs/talkin.md#sound-to-expression).

B utterances, N frames at 25 a second, E expression parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: Mel bands and columns that a frame hears.
BANDS, COLUMNS = 80, 16


class SpeakerNorm(nn.Module):
    """Change of basis that takes the speaker out of features: a sum of low-rank maps whose weights a small recurrent network
    reads from the whole utterance.

    Args:
        dim: of the features.
        num_maps: maps that are weighted.
        rank: of each.
    """

    def __init__(self, dim: int, num_maps: int = 8, rank: int = 4) -> None:
        super().__init__()
        self.reader = nn.GRU(dim, dim // 2, batch_first=True)
        self.weigh = nn.Linear(dim // 2, num_maps)
        self.inward = nn.Parameter(torch.randn(num_maps, dim, rank) / dim**0.5)
        self.outward = nn.Parameter(torch.zeros(num_maps, rank, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return float[B, N, dim] of float[B, N, dim]."""
        states, _ = self.reader(x)
        weights = torch.tanh(self.weigh(states.mean(1)))  # [B, maps]
        change = torch.einsum("bk,kir,krj->bij", weights, self.inward, self.outward)
        return x + x @ change


class ExpressionNet(nn.Module):
    """Expression parameters of an utterance.

    Args:
        num_parameters: E.
        dim: features of a frame.
        state: of the recurrent network, each direction.
        num_layers: of the recurrent network.
        num_maps, rank: of `SpeakerNorm`.
    """

    def __init__(
        self,
        num_parameters: int,
        dim: int = 96,
        state: int = 128,
        num_layers: int = 2,
        num_maps: int = 8,
        rank: int = 4,
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(BANDS, dim, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(dim, dim, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv1d(dim, dim, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(dim * (COLUMNS // 4), dim),
            nn.LayerNorm(dim),
        )
        self.speaker = SpeakerNorm(dim, num_maps, rank)
        self.recurrent = nn.LSTM(dim, state, num_layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * state, num_parameters)

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Predict an utterance.

        Args:
            sound: float[B, N, 80, 16], the mel columns around each frame. Level and spread of each band over the utterance are
                taken out here.

        Returns:
            Parameters float[B, N, E], and the features without the speaker float[B, N, dim].
        """
        mean = sound.mean((1, 3), keepdim=True)
        spread = sound.std((1, 3), keepdim=True)
        frames = ((sound - mean) / (spread + 0.1)).flatten(0, 1)
        features = self.speaker(self.encoder(frames).unflatten(0, sound.shape[:2]))
        states, _ = self.recurrent(features)
        return self.head(states), features


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class SpeakerCritic(nn.Module):
    """Guesses who speaks from the features of an utterance. What it learns from, the features unlearn: its gradient is reversed.

    Args:
        dim: of the features.
        num_speakers: in the training data.
    """

    def __init__(self, dim: int, num_speakers: int) -> None:
        super().__init__()
        self.guess = nn.Sequential(nn.Linear(2 * dim, dim), nn.SiLU(), nn.Linear(dim, num_speakers))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits float[B, speakers] of float[B, N, dim]."""
        x = _Reverse.apply(features)
        return self.guess(torch.cat([x.mean(1), x.std(1)], -1))
