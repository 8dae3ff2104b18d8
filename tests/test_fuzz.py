"""The first inputs of `benchmarks.fuzz`: mutated manifests and containers end in a UsageError or a
MediaError, never otherwise.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import fuzz


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_nothing_but_errors_that_are_meant(target: str, tmp_path: Path) -> None:
    tried, findings = fuzz.fuzz(target, 500.0, seed=1, folder=tmp_path, inputs=150)
    assert not findings, "\n".join(finding.what for finding in findings)
    assert tried == 150


def test_a_crash_and_a_surprise_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instrument itself: an exception that is not meant is kept with its input."""

    def surprise(path: Path) -> None:
        raise KeyError(path.name)

    monkeypatch.setattr(fuzz, "try_manifest", surprise)
    monkeypatch.setattr(
        fuzz.resource, "setrlimit", lambda *_: None
    )  # this process is not the instrument's own
    fuzz.worker("manifest", 1, 0.01, tmp_path)
    told = sorted(tmp_path.glob("*.txt"))
    assert told
    assert "KeyError" in told[0].read_text()
    assert told[0].with_suffix("").exists()


def test_mutations_are_seeded_and_change_something() -> None:
    data = bytes(range(256)) * 4
    assert fuzz.mutate(data, random.Random(3)) == fuzz.mutate(data, random.Random(3))
    assert sum(fuzz.mutate(data, random.Random(seed)) != data for seed in range(50)) > 45
    assert set(fuzz.seeds()) >= {".mp4", ".mkv", ".ts", ".avi", ".mpg", ".wav", ".png"}
