"""Mouth movement from sound, without training and for any voice: phones and band levels, 100 times a second.

Used by `operators.speech.stage`. Two views of the same mouth are added: what the recognised phones ask for
(`operators.speech.articulation`), and what the spectrum shows (an open jaw lifts 2-4.5 kHz over the voice's
lowest range), which also holds in languages that the recogniser does not know. Where noise or music leaves
little contrast, overall loudness is taken into account.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Literal

import numpy as np

from operators.speech.articulation import NOISY, OPENING, WIDTH, blend, closures, spans
from operators.speech.phones import Phone, RecogniserError, recognise_phones
from operators.speech.spectrum import SAMPLE_RATE, TRACK_RATE, Levels, measure_levels, smooth, widen

logger = logging.getLogger(__name__)

#: Smoothing of band levels, in frames.
BAND_SIGMA = 4.0
#: Part by which hissing phones take back what the bands say.
HISS = 0.5
#: Weight of the bands beside the phones, for opening and for width.
OPENING_BANDS, WIDTH_BANDS = 1.0, 0.25
#: Statistics are taken within this many frames of speech: long silence and padding do not count.
NEAR_SPEECH = 50
#: Natural logarithms of power between background and speech: below the first nothing but loudness can be
#: trusted, above the second all.
CONTRAST_NONE, CONTRAST_FULL = 1.5, 4.7
#: Contrast is not looked for beyond this, and a stop's gap not taken for silence within so many frames.
CONTRAST_MOST, STOP_GAP = 8.0, 6
#: Sound this far below the loudest frame is padding and does not count as background.
DIGITAL_SILENCE = 14.0
#: Seconds of the shortest recognised silence that counts.
SHORTEST_SILENCE = 0.12
#: How far below loud speech a band can fall.
FLOOR = 12.0
#: A silent mouth rests no further closed than this; real ones are at -1.6 to -0.4 in pauses.
REST = -1.3
#: Bound of the standardised tracks.
LIMIT = 4.0


@dataclasses.dataclass(frozen=True)
class MouthTrack:
    """The mouth of a whole recording at 100 Hz; value k belongs to the time k x 10 ms; n = 1 + samples //
    160.

    Attributes:
        opening: float32[n], distance of the lips: mean 0 and standard deviation 1 over the speech, within
            +-4.
        width: float32[n], distance of the mouth's corners, likewise.
        closure: float32[n] in 0..1: 1 where the lips must meet (B, P, M), 0.5 where the lower lip meets the
            teeth (F, V).
        silence: float32[n] in 0..1: 1 where nobody speaks.
        phones: recognised phones; empty where bands alone were used.
    """

    opening: np.ndarray
    width: np.ndarray
    closure: np.ndarray
    silence: np.ndarray
    phones: tuple[Phone, ...]


def predict_mouth(
    samples: np.ndarray,
    rate: int = SAMPLE_RATE,
    closure: float = 0.6,
    phones: Literal["auto", "off"] = "auto",
) -> MouthTrack:
    """Predict how a mouth moves that speaks these sounds.

    Args:
        samples: float[n], mono, -1..1. A constant offset is taken out; values that are not finite count as
            silence, with a warning.
        rate: samples per second.
        closure: 0..1, how far `MouthTrack.opening` is pulled to the closed mouth at B, P and M.
        phones: ``"off"``: do not recognise phones. ``"auto"``: use bands alone, with a warning, only where
            the recogniser fails.

    Returns:
        The track, over the whole recording. Deterministic.

    Raises:
        ValueError: samples are not one-dimensional, or the rate is not positive.
    """
    samples = _prepared(samples, rate)
    levels = measure_levels(samples)
    found = _phones(samples, levels) if phones == "auto" else []
    n_frames = len(levels.speech)

    contrast = _contrast(levels)
    silence = _silence(contrast, found)
    spoken = widen((silence < 0.5).astype(np.uint8), NEAR_SPEECH) > 0
    if not spoken.any():
        spoken[:] = True

    shut = closures(found, n_frames)
    opening = standardise(_opening(levels, found, contrast, spoken), spoken)
    if found:
        bilabial = closures((phone for phone in found if phone.label in ("B", "P", "M")), n_frames)
        opening += closure * bilabial * np.minimum(np.percentile(opening[spoken], 5) - opening, 0.0)
        opening = standardise(opening, spoken)
    opening += silence * np.maximum(REST - opening, 0.0)
    width = standardise(_width(levels, found, spoken), spoken)
    opening, width, shut, silence = (track.astype(np.float32) for track in (opening, width, shut, silence))
    return MouthTrack(opening, width, shut, silence, tuple(found))


def resting_mouth(count: int) -> MouthTrack:
    """The closed mouth of somebody who says nothing, for a recording of ``count`` samples at 16 kHz."""
    n_frames = 1 + count * TRACK_RATE // SAMPLE_RATE
    still = np.zeros(n_frames, np.float32)
    return MouthTrack(np.full_like(still, REST), still, still, np.ones_like(still), ())


def standardise(track: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Track with mean 0 and standard deviation 1 over ``where`` (bool[n]), limited to +-4; a constant track
    becomes 0.
    """
    mean, deviation = track[where].mean(), track[where].std()
    return np.zeros_like(track) if deviation < 1e-6 else np.clip((track - mean) / deviation, -LIMIT, LIMIT)


def _prepared(samples: np.ndarray, rate: int) -> np.ndarray:
    """float32 at 16 kHz, finite, without offset."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or rate <= 0:
        raise ValueError(
            f"speech must be mono samples[n] at a positive rate, got shape {list(samples.shape)} at {rate} Hz"
        )
    samples = samples.astype(np.float32, copy=False)
    finite = np.isfinite(samples)
    if not finite.all():
        logger.warning(
            "%d of %d samples of the speech are not finite; they count as silence",
            np.sum(~finite),
            len(samples),
        )
        samples = np.where(finite, samples, np.float32(0))
    if rate != SAMPLE_RATE and len(samples):
        from librosa import resample

        samples = resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    if not len(samples):
        return samples
    offset, peak = samples.mean(dtype=np.float64), max(samples.max(), -samples.min())
    return samples - np.float32(offset) if abs(offset) > 1e-3 * peak else samples


def _phones(samples: np.ndarray, levels: Levels) -> list[Phone]:
    try:
        return recognise_phones(samples, levels.speech)
    except RecogniserError as error:
        logger.warning(
            "mouth movements follow the sound's spectrum alone, lips will not meet exactly: %s", error
        )
        return []


@dataclasses.dataclass(frozen=True)
class _Contrast:
    """Contrast of speech to its background, in natural logarithms of power.

    Attributes:
        level: float64[n], loudness with the gaps of stops closed.
        background: what is heard between words.
        top: the loudest speech; never more than `CONTRAST_MOST` above the background.
        trust: 0.2..1, how far phones and bands can be believed.
    """

    level: np.ndarray
    background: float
    top: float
    trust: float


def _contrast(levels: Levels) -> _Contrast:
    level = smooth(levels.speech, 2)
    heard = level > level.max() - DIGITAL_SILENCE
    background, top = (float(value) for value in np.percentile(level[heard], (5, 95)))
    background = max(background, top - CONTRAST_MOST)
    trust = (top - background - CONTRAST_NONE) / (CONTRAST_FULL - CONTRAST_NONE)
    return _Contrast(widen(level, STOP_GAP), background, top, float(np.clip(trust, 0.2, 1.0)))


def _silence(contrast: _Contrast, found: list[Phone]) -> np.ndarray:
    """0..1: what the recogniser calls silence and what is near the background, the latter for more the better
    they differ.
    """
    n_frames = len(contrast.level)
    # The level of the speech around, so that a soft voice in a loud title is not called silence.
    around = smooth(widen(contrast.level, 5 * TRACK_RATE), TRACK_RATE)
    reach = np.clip(around, contrast.top - 4.0, contrast.top) - contrast.background
    reach = np.maximum(reach, 0.5)
    quiet = np.clip((contrast.background + 0.5 * reach - contrast.level) / (0.25 * reach), 0.0, 1.0)
    if not found:
        return smooth(quiet, BAND_SIGMA)
    unspoken = spans(found, ["SIL"], n_frames, SHORTEST_SILENCE)
    by_level = min(0.8, contrast.trust)
    return smooth(by_level * quiet + (1.0 - by_level) * unspoken, BAND_SIGMA)


def _opening(levels: Levels, found: list[Phone], contrast: _Contrast, spoken: np.ndarray) -> np.ndarray:
    low, middle, high = (_level(track, spoken) for track in (levels.low, levels.middle, levels.high))
    loudness_led = high + 0.5 * middle - 0.5 * low
    if not found:
        return loudness_led
    n_frames = len(levels.vowel)
    vowel = smooth(levels.vowel, 3)
    loudness = np.clip(1.0 + (vowel - np.percentile(vowel[spoken], 90)) / 6.0, 0.2, 1.2)
    asked = standardise(blend(found, OPENING, n_frames, loudness), spoken)
    shown = standardise(high - 0.5 * low, spoken) * (1.0 - HISS * smooth(spans(found, NOISY, n_frames), 2))
    return contrast.trust * (asked + OPENING_BANDS * shown) + (1.0 - contrast.trust) * loudness_led


def _width(levels: Levels, found: list[Phone], spoken: np.ndarray) -> np.ndarray:
    front, back = (_level(track, spoken) for track in (levels.front, levels.back))
    shown = standardise(front - back, spoken)
    if not found:
        return shown
    return standardise(blend(found, WIDTH, len(shown)), spoken) + WIDTH_BANDS * shown


def _level(track: np.ndarray, spoken: np.ndarray) -> np.ndarray:
    """Smoothed and standardised; digital silence is no lower than a quiet room."""
    floor = np.percentile(track[spoken], 95) - FLOOR
    return standardise(smooth(np.maximum(track, floor), BAND_SIGMA), spoken)
