"""Inputs of the generator, sound and pictures: chunks of the spectrogram, and faces equal to the network's own answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from operators.retalk.mel import CHUNK, chunk_starts
from operators.retalk.nets import Networks
from operators.wav2lip.wav2lip_stage import Wav2LipOptions, chunks_at, lasts, speaking_faces
from retalk_models.build import build
from tests.parity import assert_close, golden, golden_names
from tests.retalk_home import made_up


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return made_up("wav2lip")


def networks(weights: dict[str, torch.Tensor]) -> Networks:
    """`Networks` whose loader fills Wav2Lip with these weights."""

    def load(name: str, **options: Any) -> torch.nn.Module:
        module = build(name, **options)
        module.load_state_dict(weights, assign=True)
        return module

    return Networks(loader=load)


@pytest.mark.parametrize("rate", [10, 25, 24000 / 1001, 29.97, 60])
@pytest.mark.parametrize("columns", [16, 17, 81, 203])
def test_chunks_are_those_of_the_original_as_far_as_it_renders(rate: float, columns: int) -> None:
    spectrogram = np.arange(columns, dtype=np.float32)[None].repeat(80, 0) / 100
    starts = chunk_starts(columns, rate)
    times = np.arange(len(starts)) / rate
    chunks = chunks_at(spectrogram, times)
    assert chunks.shape == (len(starts), 80, CHUNK)
    assert np.rint(chunks[:, 0, 0] * 100).astype(int).tolist() == starts.tolist()
    assert lasts(times[: max(1, len(starts) - 1)], columns).all()


def test_a_speech_shorter_than_a_chunk_is_followed_by_silence() -> None:
    chunks = chunks_at(np.ones((80, 5), np.float32), np.array([0.0, 0.03]))
    assert (chunks[:, :, :5] == 1).all()
    assert (chunks[:, :, 5:] == -4).all()


def test_frames_before_and_after_the_speech_do_not_speak() -> None:
    # 81 columns are one second of sound.
    assert lasts(np.array([-0.04, 0.0, 0.96, 0.999, 1.0, 2.0]), 81).tolist() == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_faces_equal_a_plain_call_of_the_network(weights: dict[str, torch.Tensor]) -> None:
    random = np.random.default_rng(3)
    crops = random.integers(0, 256, (3, 96, 96, 3), np.uint8)
    chunks = random.uniform(-4, 4, (3, 80, 16)).astype(np.float32)
    made = speaking_faces(networks(weights), chunks, crops)
    net = build("wav2lip")
    net.load_state_dict(weights, assign=True)
    for k in range(3):
        bgr = crops[k, :, :, ::-1].copy()
        masked = bgr.copy()
        masked[48:] = 0
        pair = torch.from_numpy(np.concatenate([masked, bgr], 2) / 255.0).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            face = net(torch.from_numpy(chunks[k])[None, None], pair)[0].permute(1, 2, 0).numpy() * 255.0
        plain = face.astype(np.uint8)[..., ::-1]
        assert np.abs(made[k].astype(int) - plain).max() <= 1  # folded norms round otherwise
        assert made[k].std() > 1


def test_a_batch_gives_the_faces_of_single_calls(weights: dict[str, torch.Tensor]) -> None:
    random = np.random.default_rng(4)
    crops = random.integers(0, 256, (3, 96, 96, 3), np.uint8)
    chunks = random.uniform(-4, 4, (3, 80, 16)).astype(np.float32)
    nets = networks(weights)
    single, pairs = speaking_faces(nets, chunks, crops), speaking_faces(nets, chunks, crops, batch=2)
    assert single.shape == pairs.shape
    assert np.abs(single.astype(int) - pairs).max() <= 1
    with pytest.raises(ValueError, match=r"batch -1 must be 0 \(what suits the device\) or above"):
        Wav2LipOptions(batch=-1)


@pytest.mark.skipif("wav2lip" not in golden_names(), reason="no goldens of the original beside this checkout")
def test_the_form_that_the_stage_runs_equals_the_original(weights: dict[str, torch.Tensor]) -> None:
    """The golden's two pictures are not of one face, so its inputs go to the network as they are."""
    g = golden("wav2lip/golden.npz")
    net = networks(weights).module("wav2lip")
    with torch.inference_mode():
        out = net(
            torch.from_numpy(g["in_mel"]), torch.from_numpy(g["in_faces_u8"].astype(np.float32) / 255)
        ).numpy()
    assert_close("out", out, g["out"])
