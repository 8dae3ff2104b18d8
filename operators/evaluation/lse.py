"""LSE-D and LSE-C from SyncNet features, and the MFCC that SyncNet hears.

After Chung and Zisserman 2016; see docs/evaluation.md#lse-d-and-lse-c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

SAMPLE_RATE = 16_000
_FRAME, _STEP, _FFT, _FILTERS, _COEFFICIENTS, _LIFTER, _PREEMPHASIS = 400, 160, 512, 26, 13, 22, 0.97


def _filterbank() -> np.ndarray:
    """float64[26, 257]: triangles evenly spaced in mel (HTK formula) from 0 to 8 kHz, corners on FFT bins."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), _FILTERS + 2)
    bins = np.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE).astype(int)
    bank = np.zeros((_FILTERS, _FFT // 2 + 1))
    for row, (low, middle, high) in zip(bank, zip(bins, bins[1:], bins[2:]), strict=False):
        row[low:middle] = (np.arange(low, middle) - low) / (middle - low)
        row[middle:high] = (high - np.arange(middle, high)) / (high - middle)
    return bank


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients as python_speech_features computes them with its defaults.

    Args:
        samples: int16[n], 16 kHz, mono (values as integers, not -1 ... 1).

    Returns:
        float64[frames, 13], 100 frames a second; the first coefficient is the log energy.
    """
    signal = samples.astype(np.float64)
    signal = np.append(signal[0], signal[1:] - _PREEMPHASIS * signal[:-1])
    frames = 1 if len(signal) <= _FRAME else 1 + int(np.ceil((len(signal) - _FRAME) / _STEP))
    padded = np.append(signal, np.zeros((frames - 1) * _STEP + _FRAME - len(signal)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_STEP]
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    floor = np.finfo(float).eps
    energy = np.maximum(power.sum(1), floor)
    bands = np.maximum(power @ _filterbank().T, floor)
    coefficients = dct(np.log(bands), type=2, axis=1, norm="ortho")[:, :_COEFFICIENTS]
    coefficients *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_COEFFICIENTS) / _LIFTER)
    coefficients[:, 0] = np.log(energy)
    return coefficients


@dataclass(frozen=True)
class SyncScore:
    """``distances`` float32[2 * reach + 1], mean of each offset; ``lse_d`` the least, ``lse_c`` median minus
    least, ``offset`` frames.
    """

    distances: np.ndarray
    lse_d: float
    lse_c: float
    offset: int


def sync_score(lips: np.ndarray, sounds: np.ndarray, reach: int = 15) -> SyncScore:
    """Distance of lip and sound embeddings over offsets.

    Args:
        lips: float32[n, 1024], one of each five-frame window.
        sounds: float32[n, 1024] at the same frames.
        reach: offsets -reach ... reach are tried; sound outside the clip counts as zeros.
    """
    padded = np.pad(sounds, ((reach, reach), (0, 0)))
    # torch.pairwise_distance adds 1e-6 to every difference before the norm.
    difference = (
        lips[:, None]
        - np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0).transpose(0, 2, 1)
        + np.float32(1e-6)
    )
    distances = np.linalg.norm(difference, axis=2).mean(0)
    best = int(distances.argmin())
    return SyncScore(
        distances, float(distances[best]), float(np.median(distances) - distances[best]), reach - best
    )
