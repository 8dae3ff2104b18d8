"""The length of a speech, and what is said where it differs from the video's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from operators.media.audio import audio_blocks, check_audible, is_audible
from operators.media.limits import DEFAULT_LIMITS, MediaLimits
from operators.media.probe import VideoInfo
from operators.storage.errors import SilentAudioError
from operators.storage.files import kept_by_file
from pipelines.manifest.titles import Dub
from pipelines.planning.stretches import MUCH

#: Samples per second at which speech is looked through.
SPEECH_RATE = 16000


@dataclass(frozen=True)
class Speeches:
    """Lengths of a dub's speeches, and what is to be said of them.

    Attributes:
        seconds: of the longest of them.
        notes: for the user.
        lengths: seconds of each, by URL.
        heard: seconds of the longest that is heard itself: not of a stem where a mix is heard.
        silent: URLs of those that are silent throughout.
    """

    seconds: Fraction
    notes: list[str]
    lengths: Mapping[str, Fraction]
    heard: Fraction
    silent: frozenset[str]


def speeches_of(dub: Dub, limits: MediaLimits = DEFAULT_LIMITS) -> Speeches:
    """Listen to a dub's speeches. A speaker's stem may be silent where something else is heard: that mouth rests.

    Raises:
        LimitError: a file is larger or a speech longer than allowed.
        MediaError: one is missing, unreadable or without an audio stream, or nothing is to be heard.
    """
    found = {}
    for url in dub.speeches:
        limits.check_file(url)
        found[url] = _listen(url, limits)
    heard = dub.heard
    if not any(is_audible(found[url][1]) for url in heard):
        if len(heard) > 1:
            names = ", ".join(dict.fromkeys(heard))
            raise SilentAudioError(
                f"the stems of all speakers are silent throughout; one needs speech: {names}"
            )
        check_audible(found[heard[0]][1], heard[0])
    silent = frozenset(url for url, (_, peak) in found.items() if not is_audible(peak))
    notes = [
        f"{one.speech}: the stem of {one.face} is silent throughout: that mouth rests"
        for one in dub.speakers
        if one.speech in silent
    ]
    lengths = {url: length for url, (length, _) in found.items()}
    return Speeches(max(lengths.values()), notes, lengths, max(lengths[url] for url in heard), silent)


def speech_length(url: str, limits: MediaLimits = DEFAULT_LIMITS) -> Fraction:
    """Length of a lone speech in seconds, once it is known to be readable and not silent; raises as `speeches_of` does."""
    return speeches_of(Dub("", url, ""), limits).seconds


@kept_by_file(256)
def _listen(url: str, limits: MediaLimits) -> tuple[Fraction, np.ndarray]:
    """Seconds of a speech, and its peak as float32[1]."""
    samples, peak = 0, 0.0
    # Channel by channel: those in opposite phase would cancel each other.
    for block, _ in audio_blocks(url, SPEECH_RATE):
        samples, peak = samples + block.shape[1], max(peak, float(np.abs(block).max()))
        limits.check_seconds(url, samples / SPEECH_RATE)
    return Fraction(samples, SPEECH_RATE), np.array([peak], np.float32)


def length_notes(dub: Dub, speeches: Speeches, info: VideoInfo) -> list[str]:
    """Return notes on speeches that are longer or shorter than the video, which name them where there are several, and on a mix that
    is shorter than the output.
    """
    difference = float(speeches.seconds - info.duration)
    if info.n_frames == 1:
        return []
    longest = max(speeches.lengths, key=lambda url: speeches.lengths[url])
    told = _named(dub, longest)
    notes = []
    if dub.length in ("keep", "trim") and difference > MUCH:
        kept = "" if dub.partial else "; length freeze, loop or pingpong keeps all of it"
        notes.append(f"{told} is {difference:.1f} s longer than the video and is cut{kept}")
    if dub.length == "keep" and difference < -MUCH:
        trim = "" if dub.partial else " (--length trim would end the video there)"
        notes.append(
            f"{told} ends {-difference:.1f} s before the video; from there the video keeps its own mouth{trim}"
        )
    shown = _shown(dub, speeches, info)
    mix = _mix_of(dub)
    if mix and mix != longest and (early := float(shown - speeches.lengths[mix])) > MUCH:
        notes.append(
            f"the mix {mix} ends {early:.1f} s before the output; from there nothing is heard of the speakers"
        )
    for one in dub.speakers:
        early = float(shown - speeches.lengths[one.speech])
        if one.speech != longest and early > MUCH:
            notes.append(
                f"{_named(dub, one.speech)} ends {early:.1f} s before the output; from there the video keeps that mouth"
            )
    return notes


def mix_doubt(dub: Dub, speeches: Speeches, info: VideoInfo) -> str:
    """Return why somebody should look at a dub whose mix ends before a stem does; empty where it does not."""
    mix = _mix_of(dub)
    if not mix:
        return ""
    shown = _shown(dub, speeches, info)
    speaking = [one.speech for one in dub.speakers if one.speech not in speeches.silent]
    if not speaking:
        return ""
    last = max(speaking, key=lambda speech: speeches.lengths[speech])
    early = float(min(speeches.lengths[last], shown) - speeches.lengths[mix])
    if early <= MUCH:
        return ""
    goes = "that mouth goes" if speaking.count(last) == 1 else "those mouths go"
    return f"the mix {mix} ends {early:.1f} s before {_named(dub, last)}: {goes} on in silence"


def _shown(dub: Dub, speeches: Speeches, info: VideoInfo) -> Fraction:
    """Seconds of the output, about."""
    if dub.length == "keep":
        return info.duration
    return (min if dub.length == "trim" else max)(info.duration, speeches.seconds)


def _mix_of(dub: Dub) -> str:
    """URL of what is heard in place of the speakers; empty where they are heard themselves, or the source's sound is."""
    return dub.speech if dub.speakers and dub.speech not in dub.spoken and dub.audio != "keep" else ""


def _named(dub: Dub, url: str) -> str:
    """Name one of a dub's sounds in a note."""
    faces = [one.face for one in dub.speakers if one.speech == url]
    if not dub.speakers or len(dub.speeches) == 1:
        return "the speech"
    return f"the stem {url} of {' and '.join(faces)}" if faces else f"the mix {url}"
