"""Padding by the kernels for volumes, held to that for pictures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from retalk_models.layers.padding import as_volume, padded


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_picture_is_padded_as_a_volume(mode: str, dtype: torch.dtype) -> None:
    x = torch.randn(2, 5, 7, 6).to(dtype).contiguous(memory_format=torch.channels_last)
    made = as_volume(x, 1, 2, 3, 0, mode)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made, F.pad(x, (1, 2, 3, 0), mode=mode))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "constant"])
def test_on_a_cpu_torch_pads(mode: str) -> None:
    x = torch.randn(2, 5, 7, 6)
    assert torch.equal(padded(x, 1, 2, 3, 0, mode), F.pad(x, (1, 2, 3, 0), mode=mode))
