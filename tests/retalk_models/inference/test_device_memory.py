"""Memory of a GPU as torch reports it; on machines without one, its arithmetic."""

from __future__ import annotations

import pytest
import torch

from retalk_models.inference.device_memory import MIB, peak_memory, reset_peaks


def test_a_cpu_has_none() -> None:
    reset_peaks(torch.device("cpu"))
    assert peak_memory(torch.device("cpu")) is None


def test_what_is_not_torchs_is_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "is_initialized": True,
        "mem_get_info": (80_000 * MIB - 3_600 * MIB, 80_000 * MIB),
        "max_memory_allocated": 2_500 * MIB,
        "max_memory_reserved": 3_200 * MIB,
        "memory_reserved": 3_000 * MIB,
    }
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    found = peak_memory(torch.device("cuda"))
    assert found is not None
    assert found == (2_500, 3_200, 600)
    assert found.process == 3_800
