"""Convolutions shared by L-Net, D-Net, ParseNet, SyncNet and Wav2Lip: spectral norm, nearest upsampling, conv
+ norm blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retalk_models.layers.norms import LayerNorm2d
from retalk_models.layers.padding import padded


class SpectralConv2d(nn.Module):
    """Convolution with the old-style spectral normalisation of `torch.nn.utils.spectral_norm`.

    Keys ``bias``, ``weight_orig``, ``weight_u``, ``weight_v``; the weight used is ``weight_orig / (u . W
    v)``. In train mode each call first runs one step of the power iteration that keeps u and v up to date.
    With ``upsample`` the input is first enlarged x2 (nearest).
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, cin: int, cout: int, kernel: int, padding: int = 0, *, upsample: bool = False, stride: int = 1
    ) -> None:
        super().__init__()
        self.padding = padding
        self.stride = stride
        self.upsample = upsample
        self.bias = nn.Parameter(torch.empty(cout))
        self.weight_orig = nn.Parameter(torch.empty(cout, cin, kernel, kernel))
        self.register_buffer("weight_u", torch.empty(cout))
        self.register_buffer("weight_v", torch.empty(cin * kernel * kernel))

    def weight(self) -> Tensor:
        """The normalised weight (cout, cin, k, k)."""
        u, v = self.weight_u, self.weight_v
        if self.training:
            self.iterate()
            # The next call writes to them before this one's backward pass. Not `torch.mv`, which autocast runs in half.
            sigma = (self.weight_orig.flatten(1) * u.clone()[:, None] * v.clone()).sum()
        else:
            sigma = torch.dot(u, torch.mv(self.weight_orig.flatten(1), v))
        return self.weight_orig / sigma

    @torch.no_grad()
    def iterate(self, steps: int = 1) -> None:
        """Bring u and v nearer to the first singular vectors of the weight, in place."""
        matrix = self.weight_orig.detach().flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            for _ in range(steps):
                self.weight_v.copy_(F.normalize(torch.mv(matrix.t(), self.weight_u), dim=0, eps=1e-12))
                self.weight_u.copy_(F.normalize(torch.mv(matrix, self.weight_v), dim=0, eps=1e-12))

    def forward(self, x: Tensor) -> Tensor:
        if self.upsample:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.conv2d(x, self.weight(), self.bias, self.stride, self.padding)

    def fold(self) -> nn.Module:
        """The same as a plain convolution, or as `PhaseUpConv2d`."""
        cout, cin, kernel, _ = self.weight_orig.shape
        assert self.stride == 1, "critics are not folded"
        conv = (UpConv2d if self.upsample else nn.Conv2d)(
            cin, cout, kernel, padding=self.padding, device="meta"
        )
        conv.weight = nn.Parameter(self.weight().detach(), requires_grad=False)
        conv.bias = nn.Parameter(self.bias.detach(), requires_grad=False)
        return conv.fold() if isinstance(conv, UpConv2d) else conv


class UpConv2d(nn.Conv2d):
    """A 3x3 convolution (padding 1, zeros or reflection) on the input enlarged x2 (nearest)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))

    def fold(self) -> nn.Module:
        """The same with fewer products."""
        return PhaseUpConv2d(self)


class PhaseUpConv2d(nn.Module):
    """`UpConv2d` without its redundancy: 4 products an output sample instead of 9, for inference.

    After nearest enlargement the three taps of a row fall on two source samples only, so each of the four
    output phases is a 2x2 convolution of the small picture whose taps are sums of the original ones. All four
    run as one convolution. Reflection by one sample after the enlargement repeats the border sample before
    it.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
        assert conv.padding_mode in ("zeros", "reflect")
        self.pad_mode = "constant" if conv.padding_mode == "zeros" else "replicate"
        # Rows of the table: which of the 3 taps land on the first and the second source sample, for phase 0
        # and phase 1.
        taps = conv.weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
        weight = torch.einsum("pay,qbx,oiyx->pqoiab", taps, taps, conv.weight.detach())
        self.weight = nn.Parameter(weight.flatten(0, 2).contiguous(), requires_grad=False)
        self.bias = (
            None if conv.bias is None else nn.Parameter(conv.bias.detach().repeat(4), requires_grad=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = F.conv2d(padded(x, 1, 1, 1, 1, self.pad_mode), self.weight, self.bias)
        phases = y.unflatten(1, (2, 2, -1))  # (B, row phase, column phase, C, H+1, W+1)
        layout = (
            torch.channels_last
            if x.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        out = torch.empty(
            len(x),
            phases.shape[3],
            2 * height,
            2 * width,
            dtype=y.dtype,
            device=y.device,
            memory_format=layout,
        )
        for p in (0, 1):
            for q in (0, 1):
                out[:, :, p::2, q::2] = phases[:, p, q, :, p : p + height, q : q + width]
        return out


class ConvNorm(nn.Module):
    """Convolution ``model.0``, `LayerNorm2d` ``model.1``, LReLU(0.1): the step of L-Net's and D-Net's editing
    encoder and decoder.

    Args:
        cin: input channels.
        cout: output channels.
        kernel: odd kernel size, padded to keep the picture's size.
        spectral: `SpectralConv2d` (L-Net) instead of a plain convolution (D-Net).
        up: enlarge x2 (nearest) before.
        down: mean of 2x2 after.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int = 3, *, spectral: bool, up: bool = False, down: bool = False
    ) -> None:
        super().__init__()
        self.down = down
        conv: nn.Module
        if spectral:
            conv = SpectralConv2d(cin, cout, kernel, kernel // 2, upsample=up)
        else:
            conv = (UpConv2d if up else nn.Conv2d)(cin, cout, kernel, padding=kernel // 2)
        self.model = nn.Sequential(conv, LayerNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.model(x), 0.1, inplace=True)
        return F.avg_pool2d(x, 2) if self.down else x


class FinalConv(nn.Module):
    """The 7x7 convolution ``model.0`` to 3 channels that ends L-Net (sigmoid) and D-Net (tanh)."""

    def __init__(self, cin: int, activation: Callable[[Tensor], Tensor], *, spectral: bool) -> None:
        super().__init__()
        self.activation = activation
        self.model = nn.Sequential(
            SpectralConv2d(cin, 3, 7, 3) if spectral else nn.Conv2d(cin, 3, 7, padding=3)
        )

    def forward(self, x: Tensor) -> Tensor:
        # float32 before the squashing: in half precision values near 1 would be a grey level apart.
        return self.activation(self.model(x).float())


class ConvBlock(nn.Module):
    """Wav2Lip's block: ``conv_block.0`` convolution, ``conv_block.1`` BatchNorm, the input added if
    ``residual``, ReLU.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int = 3,
        stride: int | tuple[int, int] = 1,
        padding: int = 1,
        *,
        residual: bool = False,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        conv: nn.Module
        if transposed:
            conv = nn.ConvTranspose2d(
                cin, cout, kernel, stride, padding, output_padding=0 if stride == 1 else 1
            )
        else:
            conv = nn.Conv2d(cin, cout, kernel, stride, padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y, inplace=True)


def audio_encoder(channels: Sequence[int] = (32, 64, 128, 256, 512)) -> nn.Sequential:
    """Wav2Lip's encoder of a mel window, used by L-Net too: (B, 1, 80, 16) -> (B, 512, 1, 1).

    Args:
        channels: of the five levels, 80x16 down to 1x1; checkpoints have the default.
    """
    first, second, third, fourth, fifth = channels
    residual = {"residual": True}
    return nn.Sequential(
        ConvBlock(1, first),
        ConvBlock(first, first, **residual),
        ConvBlock(first, first, **residual),
        ConvBlock(first, second, stride=(3, 1)),
        ConvBlock(second, second, **residual),
        ConvBlock(second, second, **residual),
        ConvBlock(second, third, stride=3),
        ConvBlock(third, third, **residual),
        ConvBlock(third, third, **residual),
        ConvBlock(third, fourth, stride=(3, 2)),
        ConvBlock(fourth, fourth, **residual),
        ConvBlock(fourth, fifth, padding=0),
        ConvBlock(fifth, fifth, 1, padding=0),
    )
