"""Drawn faces that speak: mouths that open, and that an expert learns to hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.drawn_talkers import CLIP, SIDE, drawn, drawn_set, look_of
from benchmarks.training_proofs import sync
from pipelines.training.data.reader import ClipSet


def test_an_open_mouth_changes_the_mouth_alone() -> None:
    still = np.zeros(2)
    for seed in range(4):
        look = look_of(np.random.default_rng(seed))
        shut, opened = (drawn(look, opening, 16.0, still, 0.0) for opening in (0.0, 10.0))
        assert opened.shape == (SIDE, SIDE, 3)
        changed = np.abs(opened - shut).max(2)
        assert changed[60:80, 40:56].mean() > 5
        assert changed[:38].max() < 1


def test_a_set_has_clips_of_every_person_with_their_sound(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    data = drawn_set(tmp_path / "set", people=2, clips=1, validation=0.5)
    for split in ("train", "validation"):
        clips = ClipSet(data.url, split, ("faces", "mel"))
        clip = clips[0]
        assert (len(clips), clip["faces"].shape) == (1, (CLIP, SIDE, SIDE, 3))
        assert clip["mel_chunks"].shape == (CLIP, 80, 16)
        assert clip["mel_chunks"].mean((1, 2)).std() > 0.05
        assert clip["faces"][:, 60:85, 36:60].mean((1, 2, 3)).std() > 0.5


@pytest.mark.slow
def test_a_narrow_expert_finds_the_offset_of_people_it_has_not_seen(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("matplotlib")
    found = sync(tmp_path, 360, "")["drawn"]
    assert found["unseen"]["accuracy"] > 0.5
    assert found["shuffled"]["accuracy"] < 0.45
    assert found["untrained"]["accuracy"] < 0.45
