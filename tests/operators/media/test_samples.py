"""Frames of any number of channels, planar and packed, become arrays and go back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from av.audio.resampler import AudioResampler

from operators.media.audio import audio_blocks, load_audio
from operators.media.samples import Converter, filtered_samples, sound_frame
from tests.operators.media import synth

COUNTS = [1, 2, 6, 8, 9, 12, 16, 24, 32, 63, 64]


def channels(count: int, samples: int = 3000) -> np.ndarray:
    """float32[count, samples], another level in each channel."""
    ramp = np.linspace(0, 1, samples, dtype=np.float32)
    return np.stack([np.full(samples, 0.01 * (i + 1), np.float32) + 0.1 * ramp for i in range(count)])


def name(count: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(count, f"{count} channels")


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["fltp", "flt", "s16p", "s16", "s32p", "dblp"])
def test_frames_of_every_sample_format_and_count(count: int, kind: str) -> None:
    samples = channels(count)
    (frame,) = AudioResampler(kind, name(count), 48000).resample(sound_frame(samples, 48000, name(count)))
    assert frame.format.name == kind
    converter = Converter()
    found = np.concatenate([*converter.convert(frame), *converter.convert(None)], axis=1)
    assert found.dtype == np.float32
    assert found.shape == samples.shape
    assert np.abs(found - samples).max() < 1e-4


@pytest.mark.parametrize("wanted", [1, 2, 6, 8])
def test_frames_that_change_go_on_as_they_began(wanted: int) -> None:
    """Another rate, another sample format and other channels in the middle, at the same level."""
    converter, arrays = Converter(), list[np.ndarray]()
    for count, rate, kind in (
        (wanted, 48000, "fltp"),
        (1, 44100, "s16"),
        (2, 48000, "flt"),
        (6, 32000, "fltp"),
    ):
        sound = synth.tone(0.1, rate=rate, channels=count)
        for frame in AudioResampler(kind, name(count), rate).resample(sound_frame(sound, rate, name(count))):
            arrays += converter.convert(frame)
    arrays += converter.convert(None)
    found = np.concatenate(arrays, axis=1)
    assert found.shape[0] == wanted
    assert abs(found.shape[1] - 4 * 4800) < 100
    assert all(np.abs(part).max() > 0.2 for part in np.split(found[:, :19100], 4, axis=1))
    if wanted <= 2:
        assert np.abs(found).max() < 0.45


@pytest.mark.parametrize(
    ("suffix", "codec", "count", "layout"),
    [
        ("flac", "flac", 8, "7.1"),
        ("wav", "pcm_s16le", 9, "9 channels"),
        ("wav", "pcm_s24le", 16, "16 channels"),
        ("wav", "pcm_f32le", 64, "64 channels"),
        ("mka", "libopus", 8, "7.1"),
        ("mka", "pcm_s16le", 24, "22.2"),
        ("m4a", "aac", 8, "7.1"),
        ("m4a", "aac", 16, "hexadecagonal"),
        ("m4a", "alac", 8, "7.1(wide)"),
        ("wv", "wavpack", 10, "10 channels"),
        ("mka", "flac", 6, "5.1"),
    ],
)
def test_files_of_many_channels(tmp_path: Path, suffix: str, codec: str, count: int, layout: str) -> None:
    """Decoded, resampled, mixed down, channel by channel in their order."""
    tone = synth.tone(0.5)
    samples = np.concatenate([tone * (0.1 + 0.8 * i / count) for i in range(count)])
    if codec in ("aac", "libopus"):
        samples = np.repeat(tone, count, axis=0)
    path = tmp_path / f"a.{suffix}"
    synth.write_audio(path, samples, 48000, codec, layout)
    native = np.concatenate([block for block, _ in audio_blocks(str(path))], axis=1)
    assert native.shape[0] == count
    assert abs(native.shape[1] - 24000) < 3000
    if codec not in ("aac", "libopus"):
        # PyAV lets WavPack's encoder take 8 bits.
        assert np.abs(native - samples).max() < (8e-3 if codec == "wavpack" else 1e-3)
    for layout_, expected in (("mono", 1), ("stereo", 2)):
        mixed = np.concatenate(
            [block for block, _ in audio_blocks(str(path), 16000, layout_)],  # type: ignore[arg-type]
            axis=1,
        )
        assert mixed.shape[0] == expected
        assert np.abs(mixed).max() > 0.05
    assert np.abs(load_audio(str(path))).max() > 0.05


def test_filters_keep_the_number_of_samples_and_the_channels() -> None:
    samples = channels(10, 5000)
    parts = [samples[:, :1024], samples[:, 1024:1025], samples[:, 1025:]]
    found = np.concatenate(list(filtered_samples(parts, 48000, "10 channels", [("volume", "0.5")])), axis=1)
    assert np.allclose(found, samples / 2, atol=1e-6)
    assert list(filtered_samples([], 48000, "mono", [("volume", "0.5")])) == []
