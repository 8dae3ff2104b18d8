"""LipLeak: mouth motion where the speech is silent.

After KeySync (Bigata et al. 2025). Engines that paint the new mouth over the old one leak the old speech; in pauses
that shows.
"""

from __future__ import annotations

import math

import numpy as np

from operators.speech.spectrum import TRACK_RATE, measure_levels, smooth, widen

#: Speed of the opening, eye distances a second, above which a mouth moves: twice the noise of landmarks.
MOVING = 0.25
#: Natural logarithm of power below the loud part of the speech at which it is silent: 30 dB.
BELOW = 3 * math.log(10)
#: Frames of 10 ms around sound that do not count as silent: the mouth prepares and comes to rest.
MARGIN = 20
#: Seconds of silence below which there is no value.
SHORTEST = 0.4


def silent_at(samples: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return where speech is silent: 30 dB below its loud parts for 0.2 s before and after.

    Args:
        samples: float32[n] mono, 16 kHz.
        times: float[T] seconds of frames.

    Returns:
        bool[T]; True behind the end of the sound.
    """
    level = smooth(measure_levels(samples).speech, 2)
    loud = level > np.percentile(level, 95) - BELOW
    sounding = widen(loud.astype(np.uint8), MARGIN) > 0
    places = np.rint(np.asarray(times) * TRACK_RATE).astype(int)
    inside = (places >= 0) & (places < len(sounding))
    return ~np.where(inside, sounding[np.clip(places, 0, len(sounding) - 1)], False)


def lip_leak(times: np.ndarray, opening: np.ndarray, silent: np.ndarray) -> float:
    """Return the share of silent frames on which the mouth moves; lower is better.

    A frame moves if the inner-lip opening changes by more than 0.25 eye distances a second between its neighbours.
    KeySync counts open mouths instead, which a speaker at rest with open lips has as well; the two cannot be compared.

    Args:
        times: float[T] seconds of the frames, ascending.
        opening: float[T], `operators.evaluation.mouth_tracks.opening_track`; NaN where no face was found.
        silent: bool[T], `silent_at`.

    Returns:
        0 ... 1; NaN where less than 0.4 s are silent.

    Raises:
        ValueError: the arrays do not pair up.
    """
    if not len(times) == len(opening) == len(silent):
        raise ValueError(
            f"{len(times)} times, {len(opening)} openings and {len(silent)} flags do not pair up"
        )
    if len(times) < 3:
        return math.nan
    speed = np.abs(np.gradient(np.asarray(opening, np.float64), np.asarray(times, np.float64)))
    counted = silent & np.isfinite(speed)
    duration = np.gradient(np.asarray(times, np.float64))
    if duration[counted].sum() < SHORTEST:
        return math.nan
    return float(np.average(speed[counted] > MOVING, weights=duration[counted]))
