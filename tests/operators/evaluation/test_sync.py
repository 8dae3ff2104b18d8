"""LSE-D and LSE-C end to end: SyncNet with made-up weights on windows, clips and protocols."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.evaluation.lse import SyncScore, mfcc, sync_score
from operators.evaluation.sync_protocols import (
    PROTOCOLS,
    ClipSync,
    Protocol,
    TrackSync,
    pool,
    score_clip,
    shown_frames,
)
from operators.evaluation.syncnet import lip_features, score_crops, sound_features, windows
from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from tests.parity import golden, goldens
from tests.pipelines.conftest import make_video
from tests.retalk_models.recipe import Subject


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return Subject("syncnet").module


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """int16 sound whose loudness and colour change all the time, at 16 kHz."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16000)
    loud = np.interp(
        np.arange(count),
        np.arange(0, count + 800, 800),
        rng.uniform(0.05, 1, count // 800 + 1)[: count // 800 + 1],
    )
    return np.rint(8000 * loud * np.clip(rng.normal(size=count), -3, 3)).astype(np.int16)


def pictures(count: int, side: int = 224) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


def test_a_clip_counts_as_many_windows_as_syncnets_script() -> None:
    assert windows(100, 100 * 640) == 95
    assert windows(100, 60 * 640 + 639) == 55
    assert windows(4, 10**6) == 0


def test_features_of_a_clip_are_those_of_its_windows(network: torch.nn.Module) -> None:
    frames = pictures(9)
    streamed = np.concatenate([*lip_features(network, iter(frames), batch=2)])
    bgr = torch.from_numpy(np.stack(frames)[..., ::-1].copy()).permute(3, 0, 1, 2).float()
    with torch.inference_mode():
        alone = np.concatenate([network.forward_lip(bgr[None, :, i : i + 5]).numpy() for i in range(5)])
    assert streamed.shape == (5, 1024)
    np.testing.assert_allclose(streamed, alone, atol=1e-4 * np.abs(alone).max())
    assert [*lip_features(network, frames[:4])] == []


def test_network_features_of_the_goldens(network: torch.nn.Module) -> None:
    """The original's outputs for the goldens' windows, through the streaming functions."""
    if goldens() is None:
        pytest.skip(
            "the goldens are beside the checkout only; tests/retalk_models/digest.json stands for them"
        )
    arrays = golden("syncnet/golden.npz")
    for clip, expected in zip(arrays["in_lip_u8"], arrays["out_lip"]):
        rgb = clip.transpose(1, 2, 3, 0)[..., ::-1]
        (found,) = lip_features(network, rgb)
        np.testing.assert_allclose(found, expected[None], atol=1e-4 * np.abs(expected).max())
    for window, expected in zip(arrays["in_mfcc"], arrays["out_aud"]):
        found = sound_features(network, window[0].T, 0, 1)
        np.testing.assert_allclose(found, expected[None], atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("late", [-6, -1, 0, 2, 9])
def test_sound_that_is_shifted_by_frames_moves_the_offset_by_exactly_that(
    network: torch.nn.Module, late: int
) -> None:
    """Lips that agree with the sound: its own features from the network. The sound is then cut or led in."""
    sound, count = noise(4), 60
    lips = sound_features(network, mfcc(sound[640 * 10 :]), 0, count)
    shifted = sound[640 * (10 - late) :]
    heard = sound_features(network, mfcc(shifted), 0, count)
    score = sync_score(lips, heard)
    assert score.offset == -late
    # The MFCC of a cut sound differs in its first window only.
    overlap = count - abs(late)
    assert (
        score.lse_d
        < 0.2 * np.median(score.distances) + np.linalg.norm(lips, axis=1).mean() * abs(late) / overlap
    )
    assert score.lse_c == pytest.approx(float(np.median(score.distances)) - score.lse_d, rel=1e-5)


def test_sound_that_is_too_short_is_refused(network: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match="fewer than 10 windows"):
        sound_features(network, np.zeros((40, 13)), 0, 10)
    assert score_crops(network, pictures(5), 5, noise(1)) is None
    assert score_crops(network, pictures(9), 9, noise(0.1)) is None
    with pytest.raises(ValueError, match="only 2 windows of frames came, 4 were announced"):
        score_crops(network, pictures(6), 9, noise(1))


@pytest.mark.parametrize("batch", [3, 50])
def test_a_streamed_score_is_that_of_all_features_at_once(network: torch.nn.Module, batch: int) -> None:
    """Batches, zeros before and behind the clip, and the last window that SyncNet's script leaves out."""
    frames, sound = pictures(26, 32), noise(2)
    for count, heard in ((26, sound), (26, sound[: 640 * 20 + 100])):
        score = score_crops(network, iter(frames), count, heard, batch=batch)
        n = windows(count, len(heard))
        lips = np.concatenate([*lip_features(network, frames)])[:n]
        expected = sync_score(lips, sound_features(network, mfcc(heard), 0, n))
        assert score is not None
        np.testing.assert_allclose(score.distances, expected.distances, rtol=1e-4)
        assert score.lse_d == pytest.approx(expected.lse_d, rel=1e-4)


def test_the_protocol_lrs_squashes_whole_frames(network: torch.nn.Module, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=12, rate=25, size=(96, 64))
    (clip,) = [score_clip(str(path), PROTOCOLS["lrs"], network)]
    frames = [frame.rgb() for frame in read_frames(str(path), 0, 12)]
    samples = np.rint(load_audio(str(path)) * 32768).astype(np.int16)
    expected = score_crops(network, frames, 12, samples)
    assert expected is not None
    assert (clip.lse_d, clip.lse_c, clip.offset) == pytest.approx(
        (expected.lse_d, expected.lse_c, expected.offset)
    )
    assert (clip.rows[0].start, clip.rows[0].stop) == (0, 12)


def write_sound(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def test_a_tracked_protocol_has_a_row_for_each_face(network: torch.nn.Module, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=32, rate=25, size=(320, 160), sound=False)
    sound = noise(2)
    speech = write_sound(tmp_path / "s.wav", sound)
    left, right = [10.0, 10, 130, 130], [170.0, 10, 310, 150]
    boxes = [np.array([left, right] if index < 14 else [right]) for index in range(32)]
    short = Protocol("short", tracked=True, longer_than=13)
    clip = score_clip(str(path), short, network, speech=str(speech), detections=boxes)
    assert [(row.start, row.stop) for row in clip.rows] == [(0, 14), (0, 32)]
    assert clip.lse_d == pytest.approx(np.mean([row.score.lse_d for row in clip.rows]))
    found = score_clip(
        str(path), short, network, speech=str(speech), detect=lambda rgb: np.array([right]), cuts=[16]
    )
    assert [(row.start, row.stop) for row in found.rows] == [(0, 16), (16, 32)]
    first, second = (row.score.distances for row in found.rows)
    assert not np.allclose(first, second, rtol=1e-5)  # each has its own part of the sound
    nobody = score_clip(str(path), PROTOCOLS["tracked"], network, speech=str(speech), detections=boxes)
    assert nobody.rows == ()
    assert "more than 100 frames" in nobody.reason
    with pytest.raises(ValueError, match="needs a face detector"):
        score_clip(str(path), short, network, speech=str(speech))
    with pytest.raises(ValueError, match="detections of 3 frames"):
        score_clip(str(path), short, network, speech=str(speech), detections=boxes[:3])


def test_videos_of_other_rates_are_seen_25_times_a_second(tmp_path: Path) -> None:
    fifty = probe_video(str(make_video(tmp_path / "a.mp4", frames=20, rate=50)))
    assert shown_frames(fifty).tolist() == list(range(0, 20, 2))
    slow = probe_video(str(make_video(tmp_path / "b.mp4", frames=6, rate=12)))
    shown = shown_frames(slow)
    assert len(shown) == round(6 / 12 * 25)
    assert (np.diff(shown) >= 0).all()
    assert set(shown) == set(range(6))
    same = probe_video(str(make_video(tmp_path / "c.mp4", frames=9, rate=25)))
    assert shown_frames(same).tolist() == list(range(9))


def clip(name: str, *values: tuple[float, float], reason: str = "") -> ClipSync:
    rows = (TrackSync(0, 9, SyncScore(np.zeros(31), lse_d, lse_c, 0)) for lse_d, lse_c in values)
    return ClipSync(name, tuple(rows), reason)


def test_protocols_average_over_tracks_or_over_videos() -> None:
    clips = [
        clip("a", (6, 8), (10, 2)),
        clip("b", (7, 5)),
        clip("c", reason="no face"),
        clip("d", reason="no face"),
    ]
    tracked = pool(clips, PROTOCOLS["tracked"])
    assert (tracked.lse_d, tracked.lse_c) == (pytest.approx(23 / 3), pytest.approx(5))
    assert (tracked.attempted, tracked.scored, tracked.rows) == (4, 2, 3)
    assert tracked.left_out == {"no face": 2}
    videos = pool(clips, PROTOCOLS["latentsync"])
    assert (videos.lse_d, videos.lse_c) == (pytest.approx(7.5), pytest.approx(5))
    assert np.isnan(pool(clips[2:], PROTOCOLS["lrs"]).lse_d)
