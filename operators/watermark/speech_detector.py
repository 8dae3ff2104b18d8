"""Reads the mark of speech, without the original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from operators.watermark.code import CODE_BITS
from operators.watermark.keys import MarkKey
from operators.watermark.speech import (
    BANDS,
    GROUP,
    GROUPS,
    PROJECTIONS,
    STEP,
    SpeechLayout,
    band_energies,
    hop_of,
    projections,
    speech_layout,
)

#: Samples a second of the sound that is looked at.
RATE = 16000
#: Starting points that are tried in a frame of 64 ms.
PHASES = 32
#: All starting points: the hypotheses that a p-value answers for.
HYPOTHESES = PHASES * GROUP * GROUPS
#: The tail of a sum of random signs, whatever their weights, is at most this times the normal one (Bentkus and Dzindzalieta 2015).
HEAVIEST_TAIL = 3.18


@dataclass(frozen=True)
class Reading:
    """Bits as read from a carrier.

    Attributes:
        z: of the known bits at the best starting point; from N(0, 1) on unmarked sound, but for the choice of that point.
        tried: starting points.
        soft: float64[CODE_BITS], evidence for each bit of the codeword, of variance 1 where nothing is marked.
        where: the starting point in seconds.
    """

    z: float
    tried: int
    soft: np.ndarray
    where: float = 0.0

    @property
    def p(self) -> float:
        """Probability that a carrier without a mark of this key looks as marked as this one, at most."""
        return float(min(1.0, HEAVIEST_TAIL * ndtr(-self.z) * self.tried))


def read_speech(key: MarkKey, samples: np.ndarray, strength: float = 1.0) -> Reading:
    """Look for a key's mark in a sound.

    Args:
        key: whose mark.
        samples: float32[n] at `RATE`.
        strength: of the mark.
    """
    fine = hop_of(RATE) // PHASES
    energies = band_energies(np.ascontiguousarray(samples, np.float32), RATE, fine)
    layout, best = speech_layout(key), Reading(0.0, HYPOTHESES, np.zeros(CODE_BITS))
    loud = np.percentile(energies.max(axis=1), 95) if len(energies) else 0.0
    for phase in range(PHASES * GROUP):
        frames = energies[phase::PHASES]
        count = len(frames) // GROUP
        if not count:
            break
        tiles = frames[: count * GROUP].reshape(count, GROUP * BANDS)
        for turn in range(GROUPS):
            values, weights = evidence(tiles, key, turn, STEP * strength, loud)
            z = deviate(values, weights, layout)
            if z > best.z:
                flat, power = values.reshape(-1)[layout.place], weights.reshape(-1)[layout.place]
                soft = flat[:CODE_BITS] / np.sqrt(max(power[:CODE_BITS].mean() / 2, 1e-12))
                best = Reading(z, HYPOTHESES, soft, phase * fine / RATE)
    return best


def deviate(values: np.ndarray, weights: np.ndarray, layout: SpeechLayout) -> float:
    """The normal deviate of the known bits, of what `evidence` gives."""
    known = layout.place[CODE_BITS:]
    spread = np.sqrt(weights.reshape(-1)[known].sum() / 2)
    return float((values.reshape(-1)[known] * layout.pilots).sum() / max(spread, 1e-9))


def evidence(
    tiles: np.ndarray, key: MarkKey, turn: int, step: float, loud: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted cosines of phases, summed over repetitions, and their variance times 2: float64[GROUPS, PROJECTIONS] each.

    All repetitions of a projection share one random shift. Sound that repeats itself has the same phase in each, and its sum then
    varies with the square of their number: the variance is that of the sum of pointers, not the sum of variances.

    Args:
        tiles: float32[n, GROUP * BANDS], energies of groups.
        key: whose mark.
        turn: number of the first group in the layout.
        step: distance of the lattice's points, dB.
        loud: energy of a loud tile of this sound.
    """
    layout = speech_layout(key)
    groups = (np.arange(len(tiles)) + turn) % GROUPS
    found, worth = projections(tiles, layout, groups)
    weight = (
        worth * np.clip((10 * np.log10(tiles.max(axis=1) / max(loud, 1e-12) + 1e-9) + 40) / 20, 0, 1)[:, None]
    )
    pointers = np.zeros([GROUPS, PROJECTIONS], np.complex128)
    np.add.at(pointers, groups, weight * np.exp(2j * np.pi * (found / step - layout.shifts[groups])))
    return pointers.real, np.square(np.abs(pointers))
