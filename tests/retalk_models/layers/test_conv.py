"""Convolutions of special kinds against plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retalk_models.layers.conv import PhaseUpConv2d, SpectralConv2d, UpConv2d
from tests.parity import assert_close


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_phase_convolution_equals_convolution_after_enlargement(
    padding_mode: str, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = UpConv2d(5, 7, 3, padding=1, padding_mode=padding_mode)
    x = torch.randn(2, 5, 9, 4).to(memory_format=layout)
    with torch.inference_mode():
        out = PhaseUpConv2d(conv)(x)
        assert out.is_contiguous(memory_format=layout)
        assert_close("phases", out.numpy(), conv(x).numpy(), 1e-6)


def test_spectral_convolution_equals_torchs_old_spectral_norm() -> None:
    torch.manual_seed(0)
    reference = nn.utils.spectral_norm(nn.Conv2d(4, 6, 3, padding=1)).eval()
    ours = SpectralConv2d(4, 6, 3, 1).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        assert_close("spectral", ours(x).numpy(), reference(x).numpy(), 1e-6)
        assert_close("folded", ours.fold()(x).numpy(), reference(x).numpy(), 1e-6)
