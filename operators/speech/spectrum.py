"""Log-mel levels of speech at 100 Hz: how loud it is in the frequency ranges that the mouth shapes.

Used by `operators.speech.predictor`. Frame k is centred at k x 10 ms. Computed in blocks, so that hours of
sound need no more memory than a few numbers per frame; the blocks leave no trace in the result.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy

#: Samples per second of all analysis in `operators.speech`.
SAMPLE_RATE = 16000
#: Frames per second of all tracks in `operators.speech`.
TRACK_RATE = 100

HOP = SAMPLE_RATE // TRACK_RATE
N_FFT = 512
WINDOW = 400
N_BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
#: Frames computed at a time.
BLOCK = 6000
#: Power at which a band counts as empty, for sound whose peak is 1.
EMPTY = 1e-10

#: Ranges in Hz. The opening lifts `high` (second and third formant, wide jaw) over `low` (voicing); `middle`
#: holds the first formant of open vowels; spread lips lift `front` over `back`.
RANGES = {
    "low": (80, 450),
    "middle": (550, 1000),
    "high": (2000, 4500),
    "front": (1700, 3800),
    "back": (450, 1100),
}
#: Bands of `Levels.vowel`: 600 to 4600 Hz, where vowels differ in loudness.
VOWEL_BANDS = slice(8, 30)
#: Bands of `Levels.speech`: everything but hum.
SPEECH_BANDS = slice(4, None)


@dataclasses.dataclass(frozen=True)
class Levels:
    """Mean natural logarithm of mel band power, float64[n] each, n = 1 + samples // 160."""

    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    front: np.ndarray
    back: np.ndarray
    vowel: np.ndarray
    speech: np.ndarray


def measure_levels(samples: np.ndarray) -> Levels:
    """Measure the band levels of a whole recording.

    Args:
        samples: float32[n], mono at 16 kHz, finite; their gain does not matter.

    Returns:
        `Levels` of 40 mel bands (60-7600 Hz, Hann window of 25 ms), averaged over the ranges of `RANGES`.
    """
    from librosa import mel_frequencies
    from librosa.filters import mel

    bank = mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ).T.astype(
        np.float32
    )
    centres = mel_frequencies(N_BANDS + 2, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)[1:-1]
    picks: dict[str, np.ndarray] = {
        name: np.flatnonzero((centres >= low) & (centres <= high)) for name, (low, high) in RANGES.items()
    }
    picks["vowel"], picks["speech"] = np.arange(N_BANDS)[VOWEL_BANDS], np.arange(N_BANDS)[SPEECH_BANDS]

    n_frames = 1 + len(samples) // HOP
    peak = float(max(samples.max(initial=0.0), -samples.min(initial=0.0))) or 1.0
    tracks = {name: np.empty(n_frames) for name in picks}
    for start in range(0, n_frames, BLOCK):
        stop = min(start + BLOCK, n_frames)
        logs = np.log(_power(samples, start, stop, 1.0 / peak) @ bank + np.float32(EMPTY))
        for name, bands in picks.items():
            tracks[name][start:stop] = logs[:, bands].mean(1)
    return Levels(**tracks)


def _power(samples: np.ndarray, start: int, stop: int, gain: float) -> np.ndarray:
    """Power spectra float32[stop - start, 257] of frames [start, stop); samples beyond the ends count as
    zero.
    """
    first, last = start * HOP - N_FFT // 2, (stop - 1) * HOP + N_FFT // 2
    piece = samples[max(first, 0) : last]
    piece = np.pad(piece, (max(-first, 0), max(last - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(piece, N_FFT)[::HOP]
    margin = (N_FFT - WINDOW) // 2
    window = np.pad(np.hanning(WINDOW + 1)[:-1], (margin, N_FFT - WINDOW - margin)).astype(np.float32)
    return np.abs(scipy.fft.rfft(frames * (np.float32(gain) * window), axis=1)) ** 2


def smooth(track: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing, sigma in frames of 10 ms; the ends are held."""
    return scipy.ndimage.gaussian_filter1d(track, sigma, mode="nearest")


def widen(track: np.ndarray, frames: int) -> np.ndarray:
    """Largest value within +-frames."""
    return scipy.ndimage.maximum_filter1d(track, 2 * frames + 1, mode="nearest")
