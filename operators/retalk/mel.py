"""The mel-spectrogram that L-Net and E-Net hear (docs/reference.md#6-sound; the same as Wav2Lip's).

80 columns a second: sample rate 16 kHz, hop 200. A network input is a chunk of 16 columns (0.2 s).
"""

from __future__ import annotations

from functools import cache

import librosa
import numpy as np
from scipy.signal import lfilter

SAMPLE_RATE = 16_000
HOP = 200
WINDOW = 800
BANDS = 80
COLUMNS_PER_SECOND = SAMPLE_RATE // HOP
CHUNK = 16


def pre_emphasis(samples: np.ndarray) -> np.ndarray:
    """y[n] = x[n] - 0.97 x[n-1], float64[n] of float[n]."""
    return lfilter([1, -0.97], [1], samples)


@cache
def mel_basis() -> np.ndarray:
    """float32[80, 401]: 55 to 7600 Hz, Slaney scale and norm."""
    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=BANDS, fmin=55, fmax=7600)


def mel_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Normalised log-mel-spectrogram.

    Args:
        samples: float[n], mono, 16 kHz, -1 ... 1.

    Returns:
        float64[80, 1 + n // 200] in -4 ... 4.

    Raises:
        ValueError: a sample is not a number.
    """
    if not np.isfinite(samples).all():
        raise ValueError("the speech has samples that are not finite numbers: decode it again")
    spectrum = librosa.stft(
        pre_emphasis(samples), n_fft=WINDOW, hop_length=HOP, win_length=WINDOW, pad_mode="constant"
    )
    decibels = 20 * np.log10(np.maximum(1e-5, mel_basis() @ np.abs(spectrum))) - 20
    return np.clip(8 * ((decibels + 100) / 100) - 4, -4, 4)


def chunk_starts(columns: int, fps: float) -> np.ndarray:
    """First mel column of each output frame's chunk.

    The last chunk is always the last 16 columns, and it ends the list: its length is the number of frames
        that the original renders.

    Args:
        columns: of the spectrogram.
        fps: frames a second.

    Returns:
        int64[frames].

    Raises:
        ValueError: the speech is shorter than one chunk.
    """
    if columns < CHUNK:
        raise ValueError(
            f"the speech has {columns} mel columns, shorter than one chunk of {CHUNK} ({CHUNK / COLUMNS_PER_SECOND} s): pad it"
        )
    starts: list[int] = []
    while not starts or starts[-1] + CHUNK <= columns:
        starts.append(int(len(starts) * (COLUMNS_PER_SECOND / fps)))
    starts[-1] = columns - CHUNK
    return np.array(starts, np.int64)


def chunks(mel: np.ndarray, fps: float) -> np.ndarray:
    """float64[frames, 80, 16] of a spectrogram float64[80, columns]."""
    return np.stack([mel[:, start : start + CHUNK] for start in chunk_starts(mel.shape[1], fps)])
