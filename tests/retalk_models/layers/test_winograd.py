"""Convolutions with half the products."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from retalk_models.inference.optimize import use_winograd
from retalk_models.layers import winograd
from tests.parity import assert_close


@pytest.mark.parametrize("rows", [4, 7, 8, 21, 34])
@pytest.mark.parametrize("padding", [(0, 0), (1, 0), (1, 1)])
@torch.inference_mode()
def test_rows_made_four_at_a_time_are_those_of_a_convolution(
    rows: int, padding: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, rows + 2 - 2 * padding[0], 9).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(7, 5, 3, 3) / 45**0.5, torch.randn(7)
    exact = F.conv2d(x, weight, bias, padding=padding)
    for band in (1, winograd.BAND):  # in bands of four rows, and in one
        monkeypatch.setattr(winograd, "BAND", band)
        made = winograd.convolve(x, winograd.row_filters(weight), bias, padding)
        assert made.shape == exact.shape
        assert made.is_contiguous(memory_format=torch.channels_last)
        assert_close(f"bands of {band}", made.numpy(), exact.numpy(), 1e-5)


@torch.inference_mode()
def test_layers_with_many_channels_and_large_pictures_take_half_the_products() -> None:
    torch.manual_seed(0)
    conv, thin = nn.Conv2d(96, 96, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
    large, small = torch.randn(1, 96, 32, 40), torch.randn(1, 96, 7, 7)

    def products(layer: nn.Conv2d, x: torch.Tensor) -> int:
        winograd.run(layer, x, (1, 1))  # filters are made once
        with FlopCounterMode(display=False) as counter:
            made = winograd.run(layer, x, (1, 1))
        assert_close("run", made.numpy(), layer(x).numpy(), 1e-5)
        return counter.get_total_flops()

    before = products(conv, large)
    for layer in (conv, thin):
        winograd.enable(layer)
    assert products(conv, large) == before / 2
    assert products(conv, small) == 2 * 96 * 96 * 9 * 49
    few = torch.randn(1, 96, 16, 20)  # torch would not give the sums to oneDNN
    assert products(conv, few) == 2 * 96 * 96 * 9 * 16 * 20
    assert products(thin, torch.randn(1, 16, 32, 40)) == 2 * 16 * 16 * 9 * 32 * 40


@torch.inference_mode()
def test_layers_that_are_called_as_modules_take_it_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(96, 96, 3, padding=1), nn.ReLU(), nn.Conv2d(96, 96, 3, padding=1, padding_mode="reflect")
    )
    x = torch.randn(1, 96, 32, 40)

    def products() -> int:
        with FlopCounterMode(display=False) as counter:
            net(x)
        return counter.get_total_flops()

    exact, before = net(x), products()
    use_winograd(net)
    assert_close("modules", net(x).numpy(), exact.numpy(), 1e-5)
    assert products() == 0.75 * before, "zeros around: half; reflected: all of them"
