"""A real face with made-up sound that its mouth follows: the carphone sequence, which has no sound of its own."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np

from operators.faces.geometry import lip_opening
from pipelines.training.data.analysis import Analyst
from pipelines.training.data.sources import Source
from pipelines.training.data.store import Settings

RATE = 16000


def write_sound(path: Path, samples: np.ndarray) -> Path:
    """A 16 kHz mono WAV of float[n] -1 ... 1."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def openings(video: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and openings of the mouth in a video's first shot."""
    noise = write_sound(folder / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 4 * RATE))
    analyst = Analyst(Settings(sync="off", coefficients="off"))
    found = analyst.analyse(Source("talk", str(video), "somebody", str(noise)))
    shot = found.shots[0]
    times = np.array(found.info.pts, np.float64) * float(found.info.time_base)
    keep = shot.valid
    return (times[shot.start : shot.stop] - times[0])[keep], lip_opening(shot.landmarks[keep])


def sound_of(times: np.ndarray, opening: np.ndarray, early: float = 0.0, seconds: float = 4.2) -> np.ndarray:
    """Sound of a mouth that opens so: a hum, and a hiss between 2 and 4.5 kHz that is as loud as the mouth is open.

    Args:
        times, opening: of the mouth.
        early: seconds by which the sound is before the picture.
        seconds: its length.
    """
    count = int(seconds * RATE)
    at = np.arange(count) / RATE
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(0, 1, count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    hiss = np.fft.irfft(np.where((frequency > 2000) & (frequency < 4500), spectrum, 0), count)
    level = np.interp(at + early, times, (opening - opening.min()) / np.ptp(opening))
    return 0.25 * hiss / hiss.std() * 0.4 * level + 0.1 * np.sin(2 * np.pi * 150 * at)


def manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """A manifest of `retalk train prepare`."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({key for row in rows for key in row}))
        writer.writeheader()
        writer.writerows(rows)
    return path
