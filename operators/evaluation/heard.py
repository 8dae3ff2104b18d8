"""A dub's speech as its measures hear it: how loud it is, when nobody speaks, and how far a mouth that says it is open."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from operators.media.audio import load_audio
from operators.speech.predictor import predict_mouth
from operators.speech.spectrum import SAMPLE_RATE, TRACK_RATE
from operators.storage.files import kept_by_file

#: dB below full scale under which everything is as quiet.
QUIETEST = -80.0


@dataclass(frozen=True)
class Heard:
    """A speech; times are seconds from its start.

    Attributes:
        seconds: its length.
        loudness: float32[n] at 100 Hz, dB of full scale, smoothed over 80 ms.
        opening: float32[n], the mouth as the spectrum alone asks for it (`operators.speech.predictor.MouthTrack`): what engines
            plan is not taken for granted.
        silence: float32[n], 0 ... 1.
    """

    seconds: float
    loudness: np.ndarray
    opening: np.ndarray
    silence: np.ndarray

    def at(self, name: str, times: np.ndarray) -> np.ndarray:
        """Return one of the tracks at times float64[N]: float64[N], beyond the speech silence and a mouth at rest."""
        beyond = {"loudness": QUIETEST, "opening": float(self.opening.min(initial=0.0)), "silence": 1.0}[name]
        track = getattr(self, name)
        where = np.arange(len(track)) / TRACK_RATE
        found = np.interp(times, where, track, left=beyond, right=beyond)
        return np.where(times > self.seconds, beyond, found)


@kept_by_file(4)
def hear(speech: str) -> Heard:
    """Listen to the speech of an fsspec URL.

    Raises:
        MediaError: it cannot be read.
    """
    samples = load_audio(speech, rate=SAMPLE_RATE)
    track = predict_mouth(samples, SAMPLE_RATE, phones="off")
    return Heard(
        len(samples) / SAMPLE_RATE, decibels(samples, len(track.opening)), track.opening, track.silence
    )


def decibels(samples: np.ndarray, count: int) -> np.ndarray:
    """Return the level of float32[n] at 16 kHz around every 10 ms: float32[count], dB of full scale."""
    hop, half = SAMPLE_RATE // TRACK_RATE, 4 * SAMPLE_RATE // TRACK_RATE
    total = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    middle = np.arange(count) * hop
    low, high = np.clip(middle - half, 0, len(samples)), np.clip(middle + half, 0, len(samples))
    power = (total[high] - total[low]) / np.maximum(high - low, 1)
    level = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST / 10)))
    return level.astype(np.float32)


def grid(seconds: float, rate: float) -> np.ndarray:
    """Return the times of a track over an output: float64[N], ``rate`` a second."""
    return np.arange(max(1, math.ceil(seconds * rate))) / rate
