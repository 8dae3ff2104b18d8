"""3DMM coefficients and the lip-sync expert in the preparation, on made-up weights in the official nestings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from operators.media.excerpt import write_excerpt
from pipelines.errors import UsageError
from pipelines.training.data.prepare import decided, prepare
from pipelines.training.data.reader import ClipSet
from pipelines.training.data.sources import Source
from pipelines.training.data.store import Settings
from tests.pipelines.training.footage import write_sound
from tests.retalk_home import made_up, make_home, standard_landmarks

FIVE = np.array(
    [[-0.31, 0.29, 0.07], [0.32, 0.3, 0.07], [0, 0, 0.45], [-0.25, -0.32, 0.1], [0.25, -0.31, 0.1]]
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_home(folder, ["face3d_pretrain_epoch_20.pth"], np.zeros(64, np.float32), standard_landmarks(FIVE))
    torch.save(made_up("syncnet"), folder / "models" / "syncnet_v2.model")
    return folder


def test_weights_that_are_there_are_used_and_missing_ones_are_told(home: Path, tmp_path: Path) -> None:
    found = decided(Settings(weights=str(home)))
    assert (found.sync, found.coefficients) == ("expert", "on")
    nothing = str(tmp_path)
    assert decided(Settings(weights=nothing)).sync == "landmarks"
    assert decided(Settings(weights=nothing)).coefficients == "off"
    for asked in (Settings(weights=nothing, sync="expert"), Settings(weights=nothing, coefficients="on")):
        with pytest.raises(UsageError, match="missing from"):
            decided(asked)


def footage(carphone: Path, folder: Path, seconds: float) -> list[Source]:
    """A face of some 140 pixels, and noise."""
    video, sound = folder / "talk.mp4", folder / "talk.wav"
    write_excerpt(str(carphone), str(video), 0.0, seconds, (20, 0, 164, 144), 288)
    write_sound(sound, np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds)))
    return [Source("talk", str(video), "talker", str(sound))]


def test_clips_have_coefficients(home: Path, carphone: Path, tmp_path: Path) -> None:
    settings = Settings(heads=64, faces=0, weights=str(home), least_seconds=0.4, sync="off")
    found = prepare(footage(carphone, tmp_path, 0.7), str(tmp_path / "set"), settings)
    assert found["coefficients"]
    clip = ClipSet(str(tmp_path / "set"))[0]
    assert clip["coefficients"].shape == (clip["frames"], 262)
    assert np.isfinite(clip["coefficients"]).all()
    assert clip["coefficients"][:, :257].std(0).max() > 0
    assert (clip["coefficients"][:, 257:259] == 256).all()  # the head's crop, in which the pose is told


@pytest.mark.slow
def test_clips_have_the_experts_offset(home: Path, carphone: Path, tmp_path: Path) -> None:
    """Two seconds: SyncNet wants 50 frames."""
    settings = Settings(heads=64, faces=0, weights=str(home), keep_out_of_sync=True, coefficients="off")
    found = prepare(footage(carphone, tmp_path, 2.2), str(tmp_path / "set"), settings)
    assert found["sync"]["by"] == {"expert": 1}
    assert -15 <= ClipSet(str(tmp_path / "set"))[0]["sync_offset"] <= 15
