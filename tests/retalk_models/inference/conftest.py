"""A cache folder of its own for each test of the numerics check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retalk_models.inference import probes
from tests.retalk_models.inference.parsenets import Counted, another_process


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is known of any form."""
    another_process(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Calls of `Counted`; ParseNet is checked with a picture of 32 px, which takes no time."""
    small = probes.picture(1, 3, 32, 32, low=-1)
    monkeypatch.setitem(probes.PROBES, "parsenet", lambda net, put: net.logits(put(small)))
    Counted.calls.clear()
    yield Counted.calls
    Counted.calls.clear()
