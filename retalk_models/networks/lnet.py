"""L-Net: audio and a face with its lower half masked -> the face that speaks, 96x96 (VideoReTalking).

Described in docs/networks.md#l-net. Attribute names are the official checkpoint's keys (``LNet.pth``, 1721
entries).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.conv import ConvNorm, FinalConv, audio_encoder
from retalk_models.layers.ffc import FFCBlock

NUM_LEVELS = 3
NUM_RES_BLOCKS = 9
AUDIO_FEATURES = 512


class CrossAttention(nn.Module):
    """Attention whose queries and keys come from ``x`` (the masked face) and values from ``y`` (the
    reference).
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        inner = num_heads * head_dim
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_k = nn.Linear(dim, inner, bias=False)
        self.to_v = nn.Linear(dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        def heads(tokens: Tensor) -> Tensor:  # (B, N, heads * d) -> (B, heads, N, d)
            return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        out = F.scaled_dot_product_attention(heads(self.to_q(x)), heads(self.to_k(x)), heads(self.to_v(y)))
        return self.to_out(out.transpose(1, 2).flatten(2))


class NormedAttention(nn.Module):
    """Layer norm on both inputs, then `CrossAttention` ``fn``."""

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.normx = nn.LayerNorm(dim)
        self.normy = nn.LayerNorm(dim)
        self.fn = CrossAttention(dim, num_heads, head_dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fn(self.normx(x), self.normy(y))


class FeedForward(nn.Module):
    """Two linear layers around GELU in its tanh form; the gaps in ``net``'s numbering are dropouts of rate 0."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        layers = [nn.Linear(dim, hidden), nn.GELU(approximate="tanh"), nn.Identity(), nn.Linear(hidden, dim)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class NormedFeedForward(nn.Module):
    """Layer norm, then `FeedForward` ``fn``."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = FeedForward(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Layer(nn.ModuleList):
    """Attention ``0`` and feed-forward ``1``, each added to what goes in."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        attention, feed_forward = self
        x = attention(x, y) + x
        return feed_forward(x) + x


class Transformer(nn.Module):
    """Layers of `CrossAttention` and feed-forward over a feature map's positions; ``y`` stays as it is for
    all of them.
    """

    def __init__(
        self, dim: int, depth: int = 2, num_heads: int = 4, head_dim: int = 64, hidden: int = 256
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer([NormedAttention(dim, num_heads, head_dim), NormedFeedForward(dim, hidden)])
            for _ in range(depth)
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``x``, ``y``: (B, C, H, W) -> (B, C, H, W)."""
        size = x.shape[-2:]
        x, y = x.flatten(2).transpose(1, 2), y.flatten(2).transpose(1, 2)  # (B, H*W, C)
        for layer in self.layers:
            x = layer(x, y)
        return x.transpose(1, 2).unflatten(2, size)


class Encoder(nn.Module):
    """Masked face and reference down to an eighth of their size, joined by cross-attention at the bottom."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.first_inp = ConvNorm(3, channels[0], 7, spectral=True)
        self.first_ref = ConvNorm(3, channels[0], 7, spectral=True)
        for i in range(NUM_LEVELS):
            if i == NUM_LEVELS - 1:
                self.add_module(f"ca{i}", Transformer(channels[i + 1]))
            self.add_module(f"ref_down{i}", ConvNorm(channels[i], channels[i + 1], spectral=True, down=True))
            self.add_module(f"inp_down{i}", ConvNorm(channels[i], channels[i + 1], spectral=True, down=True))

    def forward(self, faces: Tensor) -> list[Tensor]:
        """``faces`` (B, 6, H, W) -> skip maps 64@H, 128@H/2, 256@H/4, 1024@H/8."""
        masked, reference = faces.split(3, dim=1)
        x, y = self.first_inp(masked), self.first_ref(reference)
        skips = [x]
        for i in range(NUM_LEVELS):
            x, y = self.get_submodule(f"inp_down{i}")(x), self.get_submodule(f"ref_down{i}")(y)
            if i < NUM_LEVELS - 1:
                skips.append(x)
        x = self.get_submodule(f"ca{NUM_LEVELS - 1}")(x, y)
        return [*skips, torch.cat([x, y], dim=1)]


class FFCBlocks(nn.Module):
    """``res0`` ... ``res8``: the Fourier blocks of one level, each conditioned on the audio feature."""

    def __init__(self, channels: int, num_blocks: int) -> None:
        super().__init__()
        for i in range(num_blocks):
            self.add_module(f"res{i}", FFCBlock(channels, AUDIO_FEATURES))

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        for block in self.children():
            x = block(x, feature)
        return x


class Decoder(nn.Module):
    """Decoder from 12 to 96 px: Fourier blocks driven by the audio feature, enlargement, the encoder's map
    added.
    """

    def __init__(self, channels: Sequence[int], num_res_blocks: int) -> None:
        super().__init__()
        for i in reversed(range(NUM_LEVELS)):
            cin = 2 * channels[-1] if i == NUM_LEVELS - 1 else channels[i + 1]
            self.add_module(f"up{i}", ConvNorm(cin, channels[i], spectral=True, up=True))
            self.add_module(f"res{i}", FFCBlocks(cin, num_res_blocks))
            self.add_module(f"jump{i}", ConvNorm(channels[i], channels[i], spectral=True))
        self.final = FinalConv(channels[0], torch.sigmoid, spectral=True)

    def forward(self, skips: list[Tensor], feature: Tensor) -> Tensor:
        x = skips[-1]
        for i in reversed(range(NUM_LEVELS)):
            x = self.get_submodule(f"res{i}")(x, feature)
            x = self.get_submodule(f"up{i}")(x) + self.get_submodule(f"jump{i}")(skips[i])
        return self.final(x)


class LNet(nn.Module):
    """Lip-sync network, 127.7 M parameters.

    Args:
        channels: of the levels, the full size first; the official checkpoint has the default.
        num_res_blocks: Fourier blocks of a level.
    """

    HALF: ClassVar = True
    CONTIGUOUS: ClassVar = True
    #: Minutes, and its Fourier transforms are left as they are.
    COMPILES: ClassVar = False

    def __init__(
        self, channels: Sequence[int] = (64, 128, 256, 512), num_res_blocks: int = NUM_RES_BLOCKS
    ) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        self.decoder = Decoder(channels, num_res_blocks)
        self.audio_encoder = audio_encoder()

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Make faces speak.

        Args:
            mel: (B, 1, 80, 16) float, log-mel windows in -4..4.
            faces: (B, 6, H, W) float RGB 0..1, H and W multiples of 8 (96 in use): channels 0-2 the face with
                its lower half 0, 3-5 a reference of the same person. Or clips: (B, 6, T, H, W) with mel (B,
                T, 1, 80, 16).

        Returns:
            (B, 3, H, W) float32 RGB 0..1; (B, 3, T, H, W) for clips.
        """
        if faces.ndim == 5:
            batch = len(faces)
            # Time-major, as the original's training batches are laid out.
            y = self(mel.transpose(0, 1).flatten(0, 1), faces.permute(2, 0, 1, 3, 4).flatten(0, 1))
            return y.unflatten(0, (-1, batch)).permute(1, 2, 0, 3, 4)
        feature = self.audio_encoder(mel).flatten(1)
        return self.decoder(self.encoder(faces), feature)
