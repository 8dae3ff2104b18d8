"""The length of a speech, and what is said where it differs from the video's."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from operators.media.audio import audio_blocks, check_audible
from operators.media.limits import DEFAULT_LIMITS, MediaLimits
from operators.media.probe import VideoInfo
from operators.storage.files import kept_by_file
from pipelines.manifest.titles import Dub

#: Samples per second at which speech is looked through.
SPEECH_RATE = 16000


def speech_length(url: str, limits: MediaLimits = DEFAULT_LIMITS) -> Fraction:
    """Length of a speech in seconds, once it is known to be readable and not silent.

    Raises:
        LimitError: the file is larger or the speech longer than allowed.
        MediaError: missing, unreadable, without an audio stream, or silent.
    """
    limits.check_file(url)
    return _speech_length(url, limits)


@kept_by_file(256)
def _speech_length(url: str, limits: MediaLimits) -> Fraction:
    samples, peak = 0, 0.0
    # Channel by channel: those in opposite phase would cancel each other.
    for block, _ in audio_blocks(url, SPEECH_RATE):
        samples, peak = samples + block.shape[1], max(peak, float(np.abs(block).max()))
        limits.check_seconds(url, samples / SPEECH_RATE)
    check_audible(np.array([peak], np.float32), url)
    return Fraction(samples, SPEECH_RATE)


def length_notes(dub: Dub, speech: Fraction, info: VideoInfo) -> list[str]:
    """Return the note on a speech that is longer or shorter than the video."""
    difference = float(speech - info.duration)
    if info.n_frames == 1:
        return []
    if dub.length in ("keep", "trim") and difference > 0.25:
        return [
            f"the speech is {difference:.1f} s longer than the video and is cut; length freeze, loop or pingpong keeps all of it"
        ]
    if dub.length == "keep" and difference < -0.25:
        return [
            f"the speech ends {-difference:.1f} s before the video; from there the video keeps its own mouth "
            "(--length trim would end the video there)"
        ]
    return []
