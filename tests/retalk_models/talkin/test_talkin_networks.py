"""The networks of talkin: shapes, what they look at, and gradients of their losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from retalk_models.talkin.expression import ExpressionNet, SpeakerCritic, SpeakerNorm
from retalk_models.talkin.losses import edges, expression_loss, weighted_l1
from retalk_models.talkin.renderer import Renderer, TemporalCritic


def net() -> ExpressionNet:
    torch.manual_seed(0)
    return ExpressionNet(5, dim=16, state=12).eval()


def test_expression_does_not_hear_how_loud_or_muffled_a_recording_is() -> None:
    """Level and spread of each band over the utterance are taken out."""
    network, sound = net(), torch.randn(2, 20, 80, 16)
    level, spread = torch.randn(80, 1) * 5, torch.rand(80, 1) + 3
    parameters, features = network(sound * 4)
    other, _ = network(sound * 4 * spread + level)
    assert parameters.shape == (2, 20, 5)
    assert features.shape == (2, 20, 16)
    torch.testing.assert_close(parameters, other, atol=0.02, rtol=0.05)


def test_a_change_of_basis_is_the_same_for_a_whole_utterance_and_none_at_first() -> None:
    torch.manual_seed(0)
    norm, x = SpeakerNorm(8, 3, 2), torch.randn(2, 6, 8)
    torch.testing.assert_close(norm(x), x)
    torch.nn.init.normal_(norm.outward)
    changed = norm(x) - x
    assert changed.abs().max() > 0.01
    maps = [torch.linalg.lstsq(x[k], changed[k]).solution for k in range(2)]
    torch.testing.assert_close(x[0] @ maps[0], changed[0], atol=1e-4, rtol=1e-3)


def test_what_the_speaker_critic_learns_the_features_unlearn() -> None:
    torch.manual_seed(1)
    critic, features = SpeakerCritic(6, 3), torch.randn(4, 7, 6, requires_grad=True)
    speakers = torch.tensor([0, 1, 2, 0])
    loss = F.cross_entropy(critic(features), speakers)
    (reversed_gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
    first = critic.guess[0]
    straight = critic.guess(torch.cat([features.mean(1), features.std(1)], -1))
    (gradient,) = torch.autograd.grad(F.cross_entropy(straight, speakers), features)
    torch.testing.assert_close(reversed_gradient, -gradient)
    loss.backward()
    assert isinstance(first, torch.nn.Linear)
    assert first.weight.grad is not None
    assert first.weight.grad.abs().sum() > 0


def painted(network: Renderer, frames: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(5)
    count, window = frames.shape[:2]
    sketches = torch.rand(count, window, 2, 32, 32)
    return network(frames, sketches, torch.rand(count, 3, 32, 32), torch.rand(count, 2, 32, 32), hole)


def test_the_renderer_never_sees_what_is_in_the_hole_and_never_touches_what_is_around() -> None:
    torch.manual_seed(0)
    network = Renderer(8, 2, 3).eval()
    torch.nn.init.normal_(network.last.weight, 0, 0.1)
    hole = torch.zeros(32, 32)
    hole[12:28, 8:24] = 1
    frames = torch.rand(2, 3, 3, 32, 32)
    other = torch.where(hole > 0, torch.rand_like(frames), frames)
    with torch.inference_mode():
        first, second = painted(network, frames, hole), painted(network, other, hole)
    torch.testing.assert_close(first[..., 12:28, 8:24], second[..., 12:28, 8:24], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first * (1 - hole), frames[:, 1] * (1 - hole))
    assert (first - frames[:, 1]).abs().max() > 0.01


def test_an_untrained_renderer_shows_the_reference() -> None:
    network, hole = Renderer(8, 2, 1).eval(), torch.ones(32, 32)
    with torch.inference_mode():
        first = painted(network, torch.rand(1, 1, 3, 32, 32), hole)
    torch.manual_seed(5)
    torch.rand(1, 1, 2, 32, 32)
    reference = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(first, reference, atol=0.06, rtol=0)


def test_the_temporal_critic_judges_patches_of_a_pair() -> None:
    scores = TemporalCritic(8)(torch.rand(2, 2, 3, 32, 32), torch.rand(2, 2, 2, 32, 32))
    assert scores.shape == (2, 1, 4, 4)


def test_expression_loss_by_hand() -> None:
    """Two frames, two parameters; the first moves landmarks three times as far."""
    basis = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    wanted = torch.zeros(1, 2, 2)
    predicted = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    loss, parts = expression_loss(predicted, wanted, basis, motion=0.5, points=2.0)
    weights = (1.5, 0.5)  # of 3 and 1 by their mean
    values = (1 * weights[0] + 4 * weights[1]) / 4
    motion = (1 * weights[0] + 4 * weights[1]) / 2
    points = (9 + 4) / 4 / 5.0
    assert abs(parts["values"] - values) < 1e-6
    assert abs(parts["motion"] - motion) < 1e-6
    assert abs(parts["points"] - points) < 1e-6
    assert abs(float(loss) - (values + 0.5 * motion + 2 * points)) < 1e-6


def test_picture_losses_by_hand() -> None:
    real, weight = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    weight[..., 2, 2], weight[..., 5, 5] = 1, 3
    made = real.clone()
    made[:, :, 2, 2], made[:, :, 0, 0] = 0.4, 9.0
    assert abs(float(weighted_l1(made, real, weight)) - 0.1) < 1e-6  # 0.4 of one of four parts
    assert float(edges(real + 0.3, real, torch.ones_like(weight))) < 1e-6  # another level has no slope
    assert float(edges(made, real, torch.ones_like(weight))) > 0.01


def test_gradients_of_the_losses() -> None:
    torch.manual_seed(0)
    basis = torch.randn(3, 4, dtype=torch.double)
    wanted = torch.randn(2, 4, 3, dtype=torch.double)
    predicted = torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: expression_loss(x, wanted, basis)[0], (predicted,))
    real, weight = torch.rand(1, 3, 8, 8, dtype=torch.double), torch.rand(1, 1, 8, 8, dtype=torch.double)
    made = torch.rand(1, 3, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: weighted_l1(x, real, weight), (made,))
    assert torch.autograd.gradcheck(lambda x: edges(x, real, weight), (made,))
