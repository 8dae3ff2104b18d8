"""The small inputs of the networks: every network has one, the same every time."""

from __future__ import annotations

import torch

from retalk_models.build import NETWORKS
from retalk_models.inference.probes import PROBES, numbers, picture, tensors_of


def test_every_network_has_a_small_input() -> None:
    assert set(PROBES) == set(NETWORKS)


def test_inputs_are_the_same_every_time_and_in_range() -> None:
    first = picture(1, 3, 40, 64, low=-1, high=3)
    assert torch.equal(first, picture(1, 3, 40, 64, low=-1, high=3))
    assert first.shape == (1, 3, 40, 64)
    assert -1 <= float(first.min()) < 0
    assert 2 < float(first.max()) <= 3
    assert torch.equal(numbers(2, 5), numbers(2, 5))


def test_tensors_inside_any_output() -> None:
    half = torch.ones(2, dtype=torch.float16)
    found = tensors_of({"a": [half, None], "b": (half,), "c": half})
    assert [tensor.dtype for tensor in found] == [torch.float32] * 3
    assert tensors_of(None) == []
