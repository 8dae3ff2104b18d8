"""Memory of the machine, and of a container on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators import machine


@pytest.mark.parametrize(
    ("limit", "told"), [("4096\n", 4096), ("max\n", None), (f"{1 << 62}\n", None), (None, None)]
)
def test_a_container_s_limit_counts(
    limit: str | None, told: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LIMITS", ())
    whole = machine.machine_memory()
    assert whole > 1 << 20
    monkeypatch.setattr(machine, "LIMITS", (tmp_path / "memory.max", tmp_path / "absent"))
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    assert machine.machine_memory() == (told or whole)
