"""Adapters of learned marks. The official weights are not here: VideoSeal's place is taken by a TorchScript module with the same
methods, AudioSeal's by its own networks (where the package is installed) with weights made by chance.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.watermark import learned
from operators.watermark.keys import MarkKey
from operators.watermark.learned import (
    AUDIOSEAL,
    FILES,
    PICTURE_BITS,
    RATE,
    VIDEOSEAL,
    AudioSealMarker,
    LearnedMarkError,
    VideoSealLook,
    VideoSealMarker,
    read_audioseal,
    readable,
    tag_of,
)
from retalk_models.registry.errors import WeightsError

KEY, ID = MarkKey(b"k" * 32), "0123456789abcdef"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of model files."""
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    monkeypatch.setenv("RETALK_LOCK", str(tmp_path / "lock.json"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


class Spread(torch.nn.Module):
    """A mark of 256 bits with the methods of VideoSeal's TorchScript file."""

    patterns: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(1)
        self.register_buffer("patterns", torch.randn([PICTURE_BITS, 3, 64, 64], generator=made).sign())

    @torch.jit.export
    def embed(self, picture: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        change = torch.einsum("bn,nchw->bchw", 2 * message - 1, self.patterns).mean(1, keepdim=True) * 0.002
        size = [int(picture.shape[2]), int(picture.shape[3])]
        return picture + torch.nn.functional.interpolate(change, size=size)

    @torch.jit.export
    def detect(self, picture: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(picture, [64, 64]).mean(1, keepdim=True)
        bits = torch.einsum("bchw,nchw->bn", small - small.mean(), self.patterns.mean(1, keepdim=True))
        return torch.cat([bits.new_ones([picture.shape[0], 1]), bits], dim=1)

    def forward(self, picture: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        return self.embed(picture, message)


@pytest.fixture
def videoseal(models: Path) -> None:
    torch.jit.script(Spread()).save(str(models / FILES[VIDEOSEAL][0]))


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 116, [128, 192, 3]).astype(np.uint8)


@pytest.mark.usefixtures("videoseal")
def test_an_id_is_written_by_videoseal_and_read_again() -> None:
    marker, marked, plain = VideoSealMarker(KEY, ID, 1.0), VideoSealLook(), VideoSealLook()
    for seed in range(4):
        own = picture(seed)
        change = marker.change(own, None)
        assert (change.shape, change.dtype) == (own.shape[:2], np.int16)
        marked.add((own.astype(int) + change[..., None]).clip(0, 255).astype(np.uint8))
        plain.add(own)
    assert (marked.read(KEY).found, marked.read(KEY).ids) == (True, (ID,))
    assert not plain.read(KEY).found
    assert not marked.read(MarkKey(b"o" * 32)).found, "check bits of another key"


@pytest.mark.usefixtures("videoseal")
def test_videoseal_changes_nothing_where_the_weight_is_zero() -> None:
    weight = np.zeros([128, 192], np.float32)
    weight[20:60, 30:90] = 1
    change = VideoSealMarker(KEY, ID, 1.0).change(picture(1), weight)
    assert change[weight > 0].any()
    assert not change[weight == 0].any()


def test_what_is_missing_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not readable(VIDEOSEAL)
    with pytest.raises(WeightsError, match=FILES[VIDEOSEAL][0]):
        VideoSealMarker(KEY, ID, 1.0)
    torch.save({}, models / FILES[VIDEOSEAL][0])
    with pytest.raises(LearnedMarkError, match="is no TorchScript file of VideoSeal"):
        VideoSealMarker(KEY, ID, 1.0)
    with pytest.raises(WeightsError, match=FILES[AUDIOSEAL][0]):
        AudioSealMarker(ID)
    torch.save({}, models / FILES[AUDIOSEAL][0])
    monkeypatch.setitem(sys.modules, "audioseal", None)
    with pytest.raises(LearnedMarkError, match="pip install audioseal"):
        AudioSealMarker(ID)


def audioseal_file(card: str, create: Any, config_type: Any, path: Path) -> None:
    """Write a model file of AudioSeal with weights by chance, as its own are laid out."""
    omegaconf, loader = pytest.importorskip("omegaconf"), pytest.importorskip("audioseal.loader")
    fields = omegaconf.OmegaConf.to_container(loader.load_local_model_config(card))
    fields.pop("checkpoint")
    torch.manual_seed(0)
    network = create(loader.AudioSeal.parse_config(dict(fields), config_type=config_type))
    state = {name.replace(".inner_conv", ""): value for name, value in network.state_dict().items()}
    torch.save({"xp.cfg": fields, "model": state}, path)


def test_audioseal_marks_every_sample_of_a_sound_that_comes_in_blocks(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package's own networks; what they say means nothing, for their weights are made by chance."""
    builder = pytest.importorskip("audioseal.builder")
    audioseal_file(
        *("audioseal_wm_16bits", builder.create_generator, builder.AudioSealWMConfig),
        models / FILES[AUDIOSEAL][0],
    )
    audioseal_file(
        *("audioseal_detector_16bits", builder.create_detector, builder.AudioSealDetectorConfig),
        models / FILES[AUDIOSEAL][1],
    )
    monkeypatch.setattr(learned, "PIECE", 1)
    rate, noise = 24000, np.random.default_rng(0)
    sound = (0.1 * noise.normal(size=(2, 2 * rate + 77))).astype(np.float32)
    found = np.concatenate(list(AudioSealMarker(ID).mark(np.array_split(sound, 9, axis=1), rate)), axis=1)
    assert found.shape == sound.shape
    change = found - sound
    assert np.abs(change).max() > 0
    assert np.allclose(change[0], change[1], atol=1e-6), "all channels get the same"
    assert np.abs(change[:, : 2 * rate].reshape(2, -1, 2400)).max(axis=2).all()
    (other,) = AudioSealMarker("f" * 16).mark([sound[:, :rate]], rate)
    assert not np.allclose(other, found[:, :rate], atol=1e-7), "the message decides the mark"
    reading = read_audioseal(sound[0, :RATE])
    assert 0 <= reading.present <= 1
    assert all(len(one) == len(tag_of(ID)) for one in reading.ids)
