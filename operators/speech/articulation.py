"""Mouth movement from phones: a table of articulatory targets, blended by dominance functions.

Coarticulation after Cohen & Massaro 1993 ("Modeling coarticulation in synthetic visual speech"); openings,
strengths and decays were set by measurement (docs/exemplar.md#from-sound-to-mouth); widths follow general
phonetics (spread /i/, rounded /u w ao/). Nothing here is trained on anybody's footage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from operators.speech.phones import Phone
from operators.speech.spectrum import TRACK_RATE, smooth


class Target(NamedTuple):
    """Target of a consonant: value 0..1, how strongly, and how fast its influence fades outside it."""

    value: float
    strength: float
    decay: float


class Gestures(NamedTuple):
    """One row of the mouth's score: vowels by value, diphthongs by two values, consonants (and silence) by
    `Target`.
    """

    vowels: Mapping[str, float]
    diphthongs: Mapping[str, tuple[float, float]]
    consonants: Mapping[str, Target]


def _consonants(rows: Mapping[str, tuple[float, float, float]]) -> dict[str, Target]:
    return {label: Target(*row) for labels, row in rows.items() for label in labels.split()}


#: Distance of the lips: 0 closed, 1 the widest vowel.
OPENING = Gestures(
    vowels={
        "AA": 1,
        "AE": 0.95,
        "AO": 0.75,
        "EH": 0.7,
        "AH": 0.6,
        "IH": 0.45,
        "ER": 0.4,
        "UH": 0.35,
        "IY": 0.3,
        "UW": 0.15,
    },
    diphthongs={
        "AW": (0.95, 0.25),
        "AY": (0.95, 0.4),
        "EY": (0.6, 0.35),
        "OW": (0.55, 0.2),
        "OY": (0.6, 0.35),
    },
    consonants=_consonants(
        {
            "B P M": (0, 4, 0.7),
            "F V": (0.08, 3, 0.8),
            "W": (0.1, 2, 1),
            "S Z": (0.2, 1.5, 1),
            "SH ZH": (0.28, 1.5, 1),
            "CH JH": (0.25, 1.5, 1),
            "T D N R Y": (0.3, 0.8, 1),
            "TH": (0.25, 1, 1),
            "DH": (0.25, 0.8, 1),
            "L": (0.4, 0.6, 1),
            "K G NG": (0.4, 0.4, 1),
            "HH": (0.5, 0.2, 1),
            "SIL": (0, 1, 1),
            "+SPN+ +NSN+": (0.3, 0.3, 1),
        }
    ),
)

#: Distance of the corners of the mouth: 0 rounded, 1 spread.
WIDTH = Gestures(
    vowels={
        "AA": 0.5,
        "AE": 0.8,
        "AO": 0.25,
        "EH": 0.75,
        "AH": 0.55,
        "IH": 0.75,
        "ER": 0.3,
        "UH": 0.2,
        "IY": 1,
        "UW": 0,
    },
    diphthongs={
        "AW": (0.55, 0.1),
        "AY": (0.55, 0.85),
        "EY": (0.8, 0.95),
        "OW": (0.25, 0.05),
        "OY": (0.15, 0.85),
    },
    consonants=_consonants(
        {
            "B P M": (0.45, 1, 1),
            "F V": (0.5, 1, 1),
            "W": (0, 2, 1),
            "S Z": (0.7, 1, 1),
            "SH ZH CH JH": (0.2, 1.5, 1),
            "R": (0.2, 1.2, 1),
            "Y": (0.9, 1, 1),
            "T D N L": (0.6, 0.5, 1),
            "TH DH": (0.6, 0.6, 1),
            "K G NG": (0.6, 0.3, 1),
            "HH": (0.5, 0.1, 1),
            "SIL": (0.45, 1, 1),
            "+SPN+ +NSN+": (0.5, 0.3, 1),
        }
    ),
)

#: Lips meet, or the lower lip meets the upper teeth: how fully.
CLOSING = {"B": 1.0, "P": 1.0, "M": 1.0, "F": 0.5, "V": 0.5}
#: The lips of B and P are together in the first part of the phone, the burst follows.
STOP_CLOSURE = 0.3
#: Their turbulence fills the ranges by which loudness would tell an open mouth.
NOISY = frozenset(["S", "Z", "SH", "ZH", "CH", "JH", "T", "F", "TH", "HH", "K"])

#: A diphthong's second target begins at this part of it.
GLIDE = 0.55
#: A pause shorter than this hardly moves the mouth (seconds, strength).
SHORT_PAUSE, SHORT_PAUSE_STRENGTH = 0.25, 0.05
#: Frames beyond which a phone has no influence left.
REACH = 60
#: Standard deviation, in frames, of the smoothing after the blend, and of a closure's flanks.
BLEND_SIGMA, CLOSURE_SIGMA = 3.0, 3.0


class _Pull(NamedTuple):
    """One term of the blend: centre and half length in frames."""

    centre: float
    half: float
    value: float
    strength: float
    decay: float


def blend(
    phones: Sequence[Phone], gestures: Gestures, n_frames: int, loudness: np.ndarray | None = None
) -> np.ndarray:
    """Blend the targets of all phones into one track.

    Args:
        phones: recognised phones.
        gestures: which table, `OPENING` or `WIDTH`.
        n_frames: length of the track at 100 Hz.
        loudness: float64[n_frames], about 0.2..1.2: louder vowels are opened wider; None: all alike.

    Returns:
        float64[n_frames] in about 0..1: sum of weight x target over sum of weight, weight = strength x
        exp(-0.25 min(d, h) / (h + 3) - max(d - h, 0) x decay / 6) at a distance of d frames from a phone of
        half length h; smoothed.
    """
    weighted, weights = np.zeros(n_frames), np.full(n_frames, 1e-12)
    for pull in _pulls(phones, gestures, loudness):
        first, last = (
            max(0, int(pull.centre - pull.half - REACH)),
            min(n_frames, int(pull.centre + pull.half + REACH) + 1),
        )
        distance = np.abs(np.arange(first, last) - pull.centre)
        inside, outside = np.minimum(distance, pull.half), np.maximum(distance - pull.half, 0.0)
        weight = pull.strength * np.exp(-0.25 * inside / (pull.half + 3.0) - outside * pull.decay / 6.0)
        weighted[first:last] += weight * pull.value
        weights[first:last] += weight
    return smooth(weighted / weights, BLEND_SIGMA)


def _pulls(phones: Iterable[Phone], gestures: Gestures, loudness: np.ndarray | None) -> Iterable[_Pull]:
    for label, start_s, end_s in phones:
        start, end = start_s * TRACK_RATE, end_s * TRACK_RATE
        length = end - start
        if label in gestures.vowels or label in gestures.diphthongs:
            strength = 0.5 + 0.5 * min(1.0, length / 10.0)
            gain = 1.0
            if loudness is not None:
                heard = loudness[round(start) : max(round(end), round(start) + 1)]
                gain = float(np.clip(heard.mean(), 0.3, 1.4)) if len(heard) else 1.0
            if label in gestures.vowels:
                yield _Pull((start + end) / 2, length / 2, gestures.vowels[label] * gain, strength, 1.0)
            else:
                onset, glide = gestures.diphthongs[label]
                middle = start + GLIDE * length
                yield _Pull((start + middle) / 2, (middle - start) / 2, onset * gain, strength, 1.0)
                yield _Pull((middle + end) / 2, (end - middle) / 2, glide * gain, strength, 1.0)
        else:
            target = gestures.consonants.get(label, gestures.consonants["SIL"])
            short = label == "SIL" and end_s - start_s < SHORT_PAUSE
            yield _Pull(
                (start + end) / 2,
                length / 2,
                target.value,
                SHORT_PAUSE_STRENGTH if short else target.strength,
                target.decay,
            )


def closures(phones: Iterable[Phone], n_frames: int) -> np.ndarray:
    """float64[n_frames] in 0..1: 1 where the lips of each B, P and M meet, 0.5 for F and V, with flanks of
    `CLOSURE_SIGMA`.
    """
    track = np.zeros(n_frames)
    for label, start_s, end_s in phones:
        if label not in CLOSING:
            continue
        part = STOP_CLOSURE if label in ("B", "P") else 0.5
        centre = (start_s + part * (end_s - start_s)) * TRACK_RATE
        first, last = (
            max(0, int(centre - 5 * CLOSURE_SIGMA)),
            min(n_frames, int(centre + 5 * CLOSURE_SIGMA) + 1),
        )
        bump = CLOSING[label] * np.exp(-0.5 * ((np.arange(first, last) - centre) / CLOSURE_SIGMA) ** 2)
        track[first:last] = np.maximum(track[first:last], bump)
    return track


def spans(phones: Iterable[Phone], labels: Iterable[str], n_frames: int, shortest: float = 0.0) -> np.ndarray:
    """float64[n_frames], 1 inside phones of these labels that last at least ``shortest`` seconds, 0
    elsewhere.
    """
    wanted, track = frozenset(labels), np.zeros(n_frames)
    for label, start, end in phones:
        if label in wanted and end - start >= shortest:
            track[max(0, round(start * TRACK_RATE)) : max(0, round(end * TRACK_RATE))] = 1.0
    return track
