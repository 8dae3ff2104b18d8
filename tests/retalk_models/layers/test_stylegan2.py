"""Modulated convolutions that scale activations against the formula that scales each sample's weights, for
batches of several styles.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from retalk_models import build
from retalk_models.layers import stylegan2
from retalk_models.layers.upfirdn import blur_kernel, upfirdn2d
from retalk_models.networks import gpen
from tests.parity import assert_close


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """The module with standard normal weights."""
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter)
    return module.eval()


def modulated(weight: Tensor, style: Tensor, demodulate: bool) -> Tensor:
    """(B, out, in, k, k): the filters of each sample."""
    filters = weight[None] * style[:, None, :, None, None]
    return (
        filters * torch.rsqrt(filters.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
        if demodulate
        else filters
    )


def each(x: Tensor, filters: Tensor) -> Tensor:
    """Each sample with its own filters."""
    return torch.cat(
        [F.conv2d(picture[None], own, padding=own.shape[-1] // 2) for picture, own in zip(x, filters)]
    )


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@torch.inference_mode()
def test_clean_modulation(up: bool, demodulate: bool) -> None:
    torch.manual_seed(0)
    layer = randomised(stylegan2.ModulatedConv2d(5, 7, 3, 11, demodulate=demodulate, up=up))
    x, code = torch.randn(3, 5, 8, 6), torch.randn(3, 11)
    enlarged = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False) if up else x
    expected = each(enlarged, modulated(layer.weight[0], layer.modulation(code), demodulate))
    for form in (layer, layer.fold()):
        y, factor = form(x, code)
        assert_close("modulated", (y * factor).numpy(), expected.numpy(), 1e-5)


@torch.inference_mode()
def test_style_conv_adds_scaled_noise_and_bias() -> None:
    torch.manual_seed(0)
    layer = randomised(stylegan2.StyleConv(5, 7, 11))
    x, code, noise = torch.randn(2, 5, 8, 8), torch.randn(2, 11), torch.randn(2, 1, 8, 8)
    filters = modulated(layer.modulated_conv.weight[0], layer.modulated_conv.modulation(code), True)
    expected = F.leaky_relu(each(x, filters) * math.sqrt(2) + layer.weight * noise + layer.bias, 0.2)
    assert_close("noise", layer(x, code, noise).numpy(), expected.numpy(), 1e-5)
    assert_close(
        "no noise", layer(x, code, None).numpy(), layer(x, code, torch.zeros(1, 1, 8, 8)).numpy(), 1e-6
    )


@pytest.mark.parametrize("up", [False, True])
@torch.inference_mode()
def test_gpens_styled_conv(up: bool) -> None:
    torch.manual_seed(0)
    layer = randomised(gpen.StyledConv(6, 4, up=up))
    size = 16 if up else 8
    x, latent, noise = torch.randn(2, 6, 8, 8), torch.randn(2, 512), torch.randn(2, 4, size, size)
    style = F.linear(latent, layer.conv.modulation.weight / math.sqrt(512), layer.conv.modulation.bias)
    filters = modulated(layer.conv.weight[0] / math.sqrt(6 * 9), style, True)
    if up:
        samples = [
            F.conv_transpose2d(picture[None], own.transpose(0, 1), stride=2)
            for picture, own in zip(x, filters)
        ]
        y = upfirdn2d(torch.cat(samples), blur_kernel(4.0), pad=(1, 1))
    else:
        y = each(x, filters)
    behind = torch.cat([y, layer.noise.weight * noise], dim=1)
    expected = F.leaky_relu(behind + layer.activate.bias[:, None, None], 0.2) * math.sqrt(2)
    for form in (layer, layer.conv.fold() and layer):
        assert_close("styled", form(x, latent, noise).numpy(), expected.numpy(), 1e-5)


@torch.inference_mode()
def test_upfirdn_by_hand() -> None:
    """Zeros between the samples, a crop on one side and a pad on the other, an asymmetric kernel applied
    flipped.
    """
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    kernel = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    spread = np.zeros((4, 6))
    spread[::2, ::2] = x[0, 0].numpy()
    padded = np.pad(spread[1:, 1:], ((0, 2), (0, 2)))
    expected = sum(
        kernel[1 - i, 1 - j].item() * padded[i : padded.shape[0] - 1 + i, j : padded.shape[1] - 1 + j]
        for i in (0, 1)
        for j in (0, 1)
    )
    assert_close("upfirdn", upfirdn2d(x, kernel, up=2, pad=(-1, 2))[0, 0].numpy(), expected, 1e-6)


def test_gfpgans_noise_is_stored_or_drawn_from_the_generator() -> None:
    decoder = build("gfpgan").stylegan_decoder
    stored = decoder.noise_pictures(3, None)
    assert all(a is b for a, b in zip(stored, decoder.noises.buffers()))
    once, again = (decoder.noise_pictures(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert [n.shape for n in once] == [(3, *n.shape[1:]) for n in stored]
    assert all(torch.equal(a, b) for a, b in zip(once, again))
    assert not torch.equal(once[0], decoder.noise_pictures(3, torch.Generator().manual_seed(2))[0])
