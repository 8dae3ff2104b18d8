"""Losses against values worked out by hand, and their gradients against differences."""

import math

import pytest
import torch
from torch import Tensor

from retalk_models.training import losses


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def check_gradient(function: object, *inputs: Tensor) -> None:
    """Losses are float32 inside, so that steps of differences must be larger than gradcheck's own."""
    tensors = tuple(x.clone().requires_grad_(True) for x in inputs)
    assert torch.autograd.gradcheck(function, tensors, eps=1e-2, atol=2e-2, rtol=2e-2, nondet_tol=0.0)


def spread(*shape: int, seed: int = 0) -> Tensor:
    """Values that differ by more than a step of differences, so that no absolute value turns over."""
    count = math.prod(shape)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return ((order.double() + 1) / count).reshape(shape)


def test_l1_is_the_mean_difference_and_takes_weights() -> None:
    drawn, real = double(1, 2, 4), double(1, 4, 1)
    assert losses.l1(drawn, real).item() == pytest.approx(5 / 3)
    assert losses.l1(drawn, real, double(0, 1, 3)).item() == pytest.approx((2 + 9) / 4)
    check_gradient(losses.l1, spread(2, 3), spread(2, 3) + 2)


def test_gram_sums_products_of_channels_over_the_picture() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels of 1x2
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4
    torch.testing.assert_close(losses.gram(maps), expected)
    check_gradient(losses.gram, spread(1, 2, 2, 2))


def test_perceptual_and_style_sum_maps_and_average_scales() -> None:
    def features(pictures: Tensor) -> list[Tensor]:
        return [pictures, 2 * pictures[:, :1]]

    drawn, real = torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.25)
    perceptual, style = losses.perceptual_and_style(features, drawn, real, scales=2)
    assert perceptual.item() == pytest.approx(0.5 + 1.0)  # at both scales the same
    # Gram of a constant c in C channels: c^2 / C; 3 channels of c, then one of 2c.
    assert style.item() == pytest.approx((0.75**2 - 0.25**2) / 3 + (1.5**2 - 0.5**2))
    assert losses.perceptual(features, drawn, real, 2).item() == pytest.approx(1.5)
    check_gradient(
        lambda x: sum(losses.perceptual_and_style(features, x, torch.zeros(1, 3, 4, 4), 2)),
        spread(1, 3, 4, 4),
    )


def test_no_gradient_reaches_what_is_real() -> None:
    drawn, real = torch.rand(1, 3, 8, 8, requires_grad=True), torch.rand(1, 3, 8, 8, requires_grad=True)
    losses.perceptual(lambda x: [x * 2], drawn, real.detach() + 0 * real.detach(), 1).backward()
    assert drawn.grad is not None
    assert real.grad is None


def test_hinge_losses() -> None:
    real, drawn = double(2, 0.5), double(-3, 0.5)
    assert losses.hinge_critic(real, drawn).item() == pytest.approx(0.25 + 0.75)
    assert losses.hinge_generator(drawn).item() == pytest.approx(1.25)
    check_gradient(losses.hinge_critic, double(0.3, 0.6), double(-0.4, 0.2))
    check_gradient(losses.hinge_generator, double(0.3, 0.6))


def test_identity_is_one_minus_the_cosine() -> None:
    one, other = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[6.0, 8.0], [0.0, 2.0]])
    assert losses.identity(one, other).item() == pytest.approx(0.5)
    check_gradient(losses.identity, spread(2, 3), spread(2, 3, seed=1))


def test_sync_is_the_cross_entropy_of_cosines() -> None:
    agreement, in_sync = double(0.8, 0.4), double(1, 0)
    assert losses.sync(agreement, in_sync).item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert losses.sync(double(0.0), double(1)).isfinite()
    assert losses.sync(double(1.0), double(0)).isfinite()
    check_gradient(lambda x: losses.sync(x, in_sync), agreement)


def test_pairs_of_windows_by_hand() -> None:
    agreement = double(0.9, 0.2, 0.4, 0.7).reshape(1, 2, 2)
    right, wrong = -(math.log(0.9) + math.log(0.7)) / 2, -(math.log(0.8) + math.log(0.6)) / 2
    assert losses.sync_of_pairs(agreement).item() == pytest.approx((right + wrong) / 2)
    scores = [(0.9, 0.2), (0.7, 0.4), (0.9, 0.4), (0.7, 0.2)]  # right and wrong, by rows, then by columns
    chosen = [-math.log(math.exp(5 * a) / (math.exp(5 * a) + math.exp(5 * b))) for a, b in scores]
    assert losses.matching(agreement, 5.0).item() == pytest.approx(sum(chosen) / 4)
    check_gradient(losses.sync_of_pairs, agreement)
    check_gradient(lambda x: losses.matching(x, 5.0), agreement)


def test_flow_smoothness_is_the_mean_step_between_neighbours() -> None:
    flow = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert losses.flow_smoothness(flow).item() == pytest.approx((1 + 3) / 4 + (0 + 2) / 4)
    assert losses.flow_smoothness(torch.full((1, 2, 4, 4), 7.0)).item() == 0
    check_gradient(losses.flow_smoothness, spread(1, 2, 3, 3))


@pytest.mark.parametrize("name", ["sync", "gram", "identity"])
def test_losses_run_under_autocast_in_float32(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        value = {
            "sync": lambda: losses.sync(torch.rand(4), torch.ones(4)),
            "gram": lambda: losses.gram(torch.rand(1, 4, 8, 8)),
            "identity": lambda: losses.identity(torch.rand(2, 8), torch.rand(2, 8)),
        }[name]()
    assert value.dtype == torch.float32
