"""Figures of the numerics check in the cache folder: kept for other workers, never trusted where they are
damaged or another machine's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from retalk_models.inference import numerics, verdicts
from retalk_models.inference.numerics import safest
from retalk_models.inference.verdicts import Verdicts, weights_digest
from tests.retalk_models.inference.parsenets import HALF, Counted, another_process, kept, parsenet


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"error": ', '"error": 1'),
        lambda text: text.replace('"network": "parsenet"', '"network": "lnet"'),
    ],
)
def test_damaged_figures_are_measured_and_written_again(
    damage: Callable[[str], str], calls: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safest("parsenet", lambda: parsenet(Counted), HALF)
    (file,) = kept(tmp_path)
    good = file.read_text()
    assert damage(good) != good
    file.write_text(damage(good))
    another_process(monkeypatch)
    safest("parsenet", lambda: parsenet(Counted), HALF)
    assert len(calls) == 4
    another_process(monkeypatch)
    safest("parsenet", lambda: parsenet(Counted), HALF)
    assert len(calls) == 4
    assert kept(tmp_path) == [file]


def test_figures_of_another_kind_of_machine_do_not_count(
    calls: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's cache folder may lie on storage that unlike machines share."""
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI"),
        lambda: monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "VSX"),
        lambda: monkeypatch.setattr(verdicts, "processor", lambda: "another"),
        lambda: monkeypatch.setattr(torch, "__version__", "99.0"),
        lambda: monkeypatch.setattr(numerics, "source_digest", lambda: "other code"),
    ]
    for count, change in enumerate(changes, 1):
        change()
        another_process(monkeypatch)
        safest("parsenet", lambda: parsenet(Counted), HALF)
        assert len(calls) == 2 * count
    assert len(kept(tmp_path)) == len(changes)


def test_workers_that_start_together_check_once(calls: list[int], tmp_path: Path) -> None:
    """The second waits for the first and takes what it has found."""
    first = numerics._Check("parsenet", parsenet(Counted))
    done: list[float] = []

    def second() -> None:
        _, accuracy = safest("parsenet", lambda: parsenet(Counted), HALF)
        assert accuracy is not None
        done.append(accuracy.error)

    with Verdicts().alone("parsenet"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.5)
        assert not done
        first.verdicts.save(first.identity(HALF), {"error": 0.125, "rms": 0.0, "seconds": 1.0})
    thread.join(60)
    assert (done, calls) == ([0.125], [])


def test_a_cache_folder_that_cannot_be_written_keeps_nothing(
    calls: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    for count in (2, 4):
        another_process(monkeypatch)
        _, accuracy = safest("parsenet", lambda: parsenet(Counted), HALF)
        assert accuracy is not None
        assert len(calls) == count


def test_the_digest_tells_weights_apart() -> None:
    """One bit anywhere, in a tensor of any type, and wherever its memory begins."""
    module = torch.nn.Module()
    module.register_buffer("big", torch.linspace(-1, 1, 100_000)[1:])
    module.register_buffer("short", torch.ones(1001, dtype=torch.bfloat16))
    module.register_buffer("count", torch.tensor(3))
    module.register_buffer("none", torch.empty(0))
    found = {weights_digest(module)}
    assert weights_digest(module) in found
    for name, at in (("big", 77_777), ("big", 99_998), ("short", 1000), ("count", ())):
        module.get_buffer(name)[at] += 1
        found.add(weights_digest(module))
    assert len(found) == 5
