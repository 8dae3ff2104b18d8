"""LSE-D and LSE-C from SyncNet features, and the MFCC that SyncNet hears.

After Chung and Zisserman 2016; see docs/evaluation.md#lse-d-and-lse-c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

SAMPLE_RATE = 16_000
#: Frames of MFCC computed at a time, and embeddings compared at a time: memory does not grow with the sound.
_BLOCK = 6000
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
    frames = 1 if len(samples) <= _FRAME else 1 + int(np.ceil((len(samples) - _FRAME) / _STEP))
    bank = _filterbank().T
    blocks = [
        _coefficients(samples, start, min(start + _BLOCK, frames), bank) for start in range(0, frames, _BLOCK)
    ]
    return np.concatenate(blocks)


def _coefficients(samples: np.ndarray, start: int, stop: int, bank: np.ndarray) -> np.ndarray:
    """Coefficients of frames [start, stop); sound behind the end counts as zeros."""
    first, last = start * _STEP, (stop - 1) * _STEP + _FRAME
    part = samples[max(first - 1, 0) : last].astype(np.float64)
    if first == 0:
        signal = np.append(part[:1], part[1:] - _PREEMPHASIS * part[:-1])
    else:
        signal = part[1:] - _PREEMPHASIS * part[:-1]
    signal = np.append(signal, np.zeros(last - first - len(signal)))
    windows = np.lib.stride_tricks.sliding_window_view(signal, _FRAME)[::_STEP]
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    floor = np.finfo(float).eps
    energy = np.maximum(power.sum(1), floor)
    bands = np.maximum(power @ bank, floor)
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
    sums = np.zeros(2 * reach + 1)
    for start in range(0, len(lips), _BLOCK):
        part = lips[start : start + _BLOCK]
        sums += distance_sums(part, padded[start : start + len(part) + 2 * reach])
    return score_of_sums(sums, len(lips))


def distance_sums(lips: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Return the sums of the distances of lips to the sounds at each offset.

    Args:
        lips: float32[n, 1024].
        around: float32[n + 2 * reach, 1024], sounds from ``reach`` windows before the first lips on.

    Returns:
        float64[2 * reach + 1].
    """
    offsets = len(around) - len(lips) + 1
    # torch.pairwise_distance adds 1e-6 to every difference before the norm.
    lips = lips + np.float32(1e-6)
    return np.array(
        [
            np.linalg.norm(lips - around[offset : offset + len(lips)], axis=1).sum(dtype=np.float64)
            for offset in range(offsets)
        ]
    )


def score_of_sums(sums: np.ndarray, count: int) -> SyncScore:
    """Return the score of ``count`` windows whose `distance_sums` are added up."""
    distances = (sums / count).astype(np.float32)
    best, reach = int(distances.argmin()), len(sums) // 2
    least = float(distances[best])
    return SyncScore(distances, least, float(np.median(distances)) - least, reach - best)
