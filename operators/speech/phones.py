"""Phones of a recording, by PocketSphinx's `allphone` search with the English models that its wheel carries.

Used by `operators.speech.predictor`. No words are recognised: other languages come out as the nearest English
    phones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from operators.speech.spectrum import HOP, SAMPLE_RATE, TRACK_RATE, smooth, widen

if TYPE_CHECKING:
    import pocketsphinx

#: The recogniser's models by their name in `retalk_models.registry.bundled`.
MODEL = "pocketsphinx/en-us"
#: Longest stretch decoded at once, and the part of it in which a cut is looked for (frames of 10 ms).
CHUNK, CUT_FROM, CHUNK_LEFT = 60 * TRACK_RATE, 30 * TRACK_RATE, 10 * TRACK_RATE
#: Sound this far below the loudest speech (natural log of power) is not decoded, except for so many frames
#: next to louder ones: it would bias the recogniser's cepstral mean.
INAUDIBLE, KEPT_SILENCE = 9.0, 20
#: A frame of the recogniser begins 10 ms x k and is 25.6 ms long: its middle lies so many frames after our
#: frame k's.
FRAME_SHIFT = 1.28
PEAK = 0.7
#: Noise mixed in, relative to the peak (-80 dB): the models know no digital silence and would hear it in the
#: gaps of synthetic speech.
DITHER = 10 ** (-80 / 20)
#: Samples of the shortest sound that the recogniser takes: a few of its frames.
SHORTEST = SAMPLE_RATE // 20
#: Seconds without a phone that count as silence.
GAP = 0.1


class Phone(NamedTuple):
    """One recognised phone: ARPAbet label, ``SIL``, ``+SPN+`` or ``+NSN+`` (speech and other noise), and its
    seconds.
    """

    label: str
    start: float
    end: float


class RecogniserError(RuntimeError):
    """The recogniser is not installed, has no models, or failed on this sound."""


def recognise_phones(samples: np.ndarray, level: np.ndarray) -> list[Phone]:
    """Recognise the phones of a whole recording.

    Long recordings are decoded in pieces of at most 60 s, cut where it is quietest; long silences are not
    decoded at all.

    Args:
        samples: float32[n], mono at 16 kHz, finite.
        level: float64[1 + n // 160], log power of the speech bands
            (`operators.speech.spectrum.Levels.speech`).

    Returns:
        Phones in order of time, without gaps from the first to the last; empty for sound too short to hold
        one.

    Raises:
        RecogniserError: pocketsphinx is missing or fails.
    """
    decoder = _new_decoder()
    frames = np.flatnonzero(audible_frames(level))
    frames = frames[(frames + 1) * HOP <= len(samples)]
    phones: list[Phone] = []
    for start, stop in _pieces(level[frames]):
        kept = frames[start:stop]
        sound = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)[kept].reshape(-1)
        for label, first, last in _decode(decoder, sound):
            phones.extend(
                Phone(label, a / TRACK_RATE, b / TRACK_RATE) for a, b in _runs(kept[first : last + 1])
            )
    return _without_gaps(phones, len(level) / TRACK_RATE)


def audible_frames(level: np.ndarray) -> np.ndarray:
    """bool[n]: frames worth decoding: within `INAUDIBLE` of the loudest, or within 0.2 s of such a frame."""
    loud = smooth(level, 3)
    loud = loud > loud.max() - INAUDIBLE
    return widen(loud.astype(np.uint8), KEPT_SILENCE) > 0


def _pieces(level: np.ndarray) -> Iterator[tuple[int, int]]:
    """Frame ranges of at most `CHUNK` frames that cover all, cut at the quietest places."""
    quiet = smooth(level, 10) if len(level) else level
    start = 0
    while len(level) - start > CHUNK:
        rest = len(level) - start
        low, high = start + CUT_FROM, start + min(CHUNK, rest - CHUNK_LEFT)
        cut = low + int(np.argmin(quiet[low:high]))
        yield start, cut
        start = cut
    if start < len(level):
        yield start, len(level)


def _runs(frames: np.ndarray) -> Iterator[tuple[float, float]]:
    """Start and end, in our frames, of each stretch of consecutive frames: a phone does not reach across
    silence that was left out.
    """
    for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
        if len(run):
            yield float(run[0]) + FRAME_SHIFT - 0.5, float(run[-1]) + FRAME_SHIFT + 0.5


def _new_decoder() -> pocketsphinx.Decoder:
    """A decoder of its own for each recording: no state passes from one to the next."""
    try:
        import pocketsphinx

        return pocketsphinx.Decoder(
            hmm=pocketsphinx.get_model_path("en-us/en-us"),
            allphone=pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin"),
            lm=None,
            dict=None,
            lw=2.0,
            beam=1e-20,
            pbeam=1e-20,
            cmn="batch",
            loglevel="FATAL",
        )
    except (ImportError, RuntimeError, OSError) as error:
        raise RecogniserError(f"pocketsphinx cannot be used: {error}") from error


def _decode(decoder: pocketsphinx.Decoder, sound: np.ndarray) -> list[tuple[str, int, int]]:
    """Label, first and last frame (inclusive) of each phone in one piece of sound."""
    if len(sound) < SHORTEST:
        return []
    sound = sound - sound.mean()
    peak = float(np.abs(sound).max(initial=0.0))
    if peak == 0.0:
        return []
    sound = sound * (PEAK / peak) + np.random.default_rng(0).normal(0.0, PEAK * DITHER, len(sound))
    pcm = np.round(np.clip(sound, -1.0, 1.0) * 32767).astype(np.int16)
    try:
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), full_utt=True)
        decoder.end_utt()
        return [(entry.word, entry.start_frame, entry.end_frame) for entry in decoder.seg() or ()]
    except RuntimeError as error:
        raise RecogniserError(
            f"pocketsphinx failed on {len(sound) / SAMPLE_RATE:.1f} s of sound: {error}"
        ) from error


def _without_gaps(phones: list[Phone], duration: float) -> list[Phone]:
    """Let each phone last until the next begins, the first from 0 and the last to the end; silence that was
    left out is one ``SIL``.
    """
    filled: list[Phone] = []

    def add(label: str, end: float) -> None:
        start = filled[-1].end if filled else 0.0
        if label == "SIL" and filled and filled[-1].label == "SIL":
            filled[-1] = filled[-1]._replace(end=end)
        elif end > start:
            filled.append(Phone(label, start, end))

    for phone in phones:
        if phone.start - (filled[-1].end if filled else 0.0) > GAP:
            add("SIL", phone.start)
        add(phone.label, phone.end)
    if filled and duration - filled[-1].end > GAP:
        add("SIL", duration)
    return filled
