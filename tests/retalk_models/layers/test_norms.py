"""Norms in the form for GPUs, held to torch's own on the CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from retalk_models.layers.norms import normalised

LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 1e-2)])
@pytest.mark.parametrize("whole", [True, False])
def test_a_norm_of_few_passes_equals_torchs(
    layout: torch.memory_format, dtype: torch.dtype, bound: float, whole: bool
) -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(3, 8, 24, 20) + 5).contiguous(memory_format=layout)
    scale, shift = torch.randn(1, 8, 1, 1), torch.randn(1, 8, 1, 1)
    if whole:
        expected = F.group_norm(x, 1, scale.flatten(), shift.flatten(), 1e-5)
    else:
        expected = F.instance_norm(x, eps=1e-5) * scale + shift
    made = normalised(x.to(dtype), (1, 2, 3) if whole else (2, 3), scale.to(dtype), shift.to(dtype))
    assert made.dtype == dtype
    assert made.is_contiguous(memory_format=layout)
    assert (made.float() - expected).abs().max() <= bound * expected.abs().max()


def test_a_picture_of_one_value_becomes_the_shift() -> None:
    x = torch.full((2, 4, 8, 8), 700.0, dtype=torch.float16)
    shift = torch.arange(4.0).reshape(1, 4, 1, 1)
    made = normalised(x, (2, 3), torch.ones(1, 4, 1, 1), shift).float()
    assert torch.equal(made, shift.expand_as(made))
