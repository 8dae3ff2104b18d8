"""Measures of held-out clips against answers known beforehand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.evaluation.paired import ssim
from pipelines.training.data.reader import ClipSet
from pipelines.training.evaluate import REACH, mean_ssim, offset_accuracy, psnr, sheet
from pipelines.training.log import Log, curves
from retalk_models.training.sync_expert import FRAMES, SyncExpert
from tests.pipelines.training.made import TINY, made_set


def test_psnr_of_known_errors() -> None:
    real = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(real + 0.1, real) == pytest.approx(20.0, abs=1e-4)
    assert psnr(real, real) == 100.0


def test_ssim_is_that_of_the_metric() -> None:
    random = np.random.default_rng(0)
    real, drawn = random.integers(0, 256, (2, 2, 24, 24, 3), np.uint8)
    tensors = [torch.from_numpy(one).permute(0, 3, 1, 2) / 255 for one in (drawn, real)]
    expected = np.mean([ssim(one, other) for one, other in zip(drawn, real, strict=True)])
    assert mean_ssim(*tensors) == pytest.approx(expected)
    assert mean_ssim(tensors[1], tensors[1]) == pytest.approx(1.0)


class Clairvoyant(SyncExpert):
    """Agrees where the loudness of the window is the opening that the picture shows."""

    def faces(self, faces: Tensor) -> Tensor:
        dark = (faces[:, :, 1, faces.shape[-2] // 2 :] < 0.1).float().mean((2, 3))
        return torch.nn.functional.normalize(dark - dark.mean(1, keepdim=True), dim=1)

    def sound(self, mel: Tensor) -> Tensor:
        columns = torch.arange(FRAMES) * 3  # 16 columns are the 5 frames
        loud = mel[:, 0].mean(1)[:, columns]
        return torch.nn.functional.normalize(loud - loud.mean(1, keepdim=True), dim=1)


def test_an_expert_that_knows_finds_the_offset_and_the_control_does_not(tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, heads=0, faces=96, validation=0.0)
    data = made_set(tmp_path / "data", "abcdef", clips=4, frames=60, settings=settings)
    clips, expert = ClipSet(data.url, "train", ("faces", "mel")), Clairvoyant((4, 4, 8, 8, 8)).eval()
    right, control = offset_accuracy(expert, clips), offset_accuracy(expert, clips, shuffled=True)
    assert right["clips"] == control["clips"] == 24
    assert right["chance"] == pytest.approx(3 / (2 * REACH + 1))
    assert right["accuracy"] >= 0.75
    assert control["accuracy"] <= 0.5


def test_a_sheet_has_a_row_for_each_item() -> None:
    pictures = {"drawn": torch.zeros(3, 3, 8, 8), "target": torch.ones(3, 3, 8, 8)}
    found = sheet(pictures, most=2)
    assert found.shape == (8 + 4 + 8, 8 + 2 + 8, 3)
    assert np.all(found[:8, :8] == 0)


def test_tensorboard_gets_both_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(str(tmp_path))
    log.add({"step": 1, "loss": 0.5})
    log.add({"step": 1, "held_out": True, "loss": 0.25})
    log.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(s.step, s.value) for s in found.Scalars("held_out/loss")] == [(1, 0.25)]
    assert [(s.step, s.value) for s in found.Scalars("train/loss")] == [(1, 0.5)]


def test_curves_show_training_and_held_out(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [{"step": n, "loss": 1 / n} for n in range(1, 5)] + [
        {"step": 4, "held_out": True, "loss": 0.5, "psnr": 30.0}
    ]
    curves(rows, str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").stat().st_size > 5000
