"""Band levels: right formula, right time, no trace of the blocks."""

import librosa
import numpy as np

from operators.speech.spectrum import BLOCK, EMPTY, HOP, RANGES, SAMPLE_RATE, measure_levels


def tone(hz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE).astype(np.float32)


def test_levels_equal_librosa_over_several_blocks() -> None:
    samples = np.random.default_rng(0).normal(0, 0.2, (BLOCK + 500) * HOP + 77).astype(np.float32)
    samples *= np.float32(1 / np.abs(samples).max())
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=SAMPLE_RATE,
        n_fft=512,
        win_length=400,
        hop_length=HOP,
        pad_mode="constant",
        n_mels=40,
        fmin=60,
        fmax=7600,
    )
    centres = librosa.mel_frequencies(42, fmin=60, fmax=7600)[1:-1]
    levels = measure_levels(samples)
    for name, (low, high) in RANGES.items():
        expected = np.log(power[(centres >= low) & (centres <= high)] + EMPTY).mean(0)
        np.testing.assert_allclose(getattr(levels, name), expected, atol=1e-3)


def test_each_range_answers_to_its_own_tone() -> None:
    levels = {hz: measure_levels(tone(hz, 0.5)) for hz in (150, 800, 3000)}
    for name, hz in (("low", 150), ("middle", 800), ("high", 3000)):
        means = {other: getattr(levels[other], name).mean() for other in levels}
        assert means[hz] > max(value for other, value in means.items() if other != hz) + 3


def test_frame_k_is_centred_at_k_times_10_ms() -> None:
    samples = np.zeros(2 * SAMPLE_RATE, np.float32)
    samples[SAMPLE_RATE] = 1
    assert int(np.argmax(measure_levels(samples).speech)) == 100


def test_gain_does_not_matter() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    np.testing.assert_allclose(
        measure_levels(samples).high, measure_levels(samples * np.float32(1e-3)).high, atol=1e-3
    )
