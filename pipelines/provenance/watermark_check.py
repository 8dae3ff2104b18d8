"""The check of `retalk verify` that looks for watermarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from operators.faces.backend import FaceBackend, make_backend
from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.errors import MediaError
from operators.watermark.code import decode
from operators.watermark.keys import MarkKey
from operators.watermark.learned import LearnedMarkError
from operators.watermark.picture_detector import Look, Looked, read_picture
from operators.watermark.speech_detector import RATE, Reading, read_speech
from pipelines.errors import UsageError
from pipelines.provenance.findings import Finding, Subject
from pipelines.provenance.learned_check import Box, learned_readings, mouths_of, with_learned
from pipelines.provenance.watermarks import read_key
from retalk_models.registry.errors import WeightsError

#: Seconds of a file that are looked at, from its middle: of sound, and of pictures.
SOUND, PICTURES = 120, 30
#: Probability by chance below which a mark is there, and below which an id with right check bits is believed.
SURE, LIKELY = 1e-6, 1e-2
#: Smaller p-values than this are not told apart.
LEAST = 1e-300
#: Pictures a second in which faces are looked for.
FACES = 2.0


def watermark_check(subject: Subject) -> Finding:
    """Look for the marks of a key in sound and pictures."""
    try:
        key = read_key(subject.trust.mark_key)
    except UsageError as problem:
        return Finding("watermark", "skipped", f"not looked for: {problem}")
    readings: dict[str, Reading] = {}
    samples = heard(str(subject.path))
    if samples is not None:
        readings["speech"] = read_speech(key, samples)
    if (looks := seen(str(subject.path))) is not None:
        readings["picture"] = read_seen(key, looks)
    finding = conclude(key, readings)
    try:
        return with_learned(finding, learned_readings(subject.path, key, samples))
    except (LearnedMarkError, WeightsError) as problem:
        return replace(finding, text=f"{finding.text}; learned marks were not looked for: {problem}")


def conclude(key: MarkKey, readings: dict[str, Reading]) -> Finding:
    """Say what the readings of the carriers come to.

    Args:
        key: whose marks.
        readings: by carrier, ``speech`` and ``picture``.
    """
    details: dict[str, Any] = {
        name: {"p": reading.p, "z": round(reading.z, 2)} for name, reading in readings.items()
    }
    details["key"] = key.name
    softs = {name: reading.soft for name, reading in readings.items()}
    if len(softs) == 2:
        softs["both"] = sum(softs.values(), np.zeros_like(softs["speech"]))
    least = min((reading.p for reading in readings.values()), default=1.0)
    chance = min(1.0, least * max(1, len(readings)))
    for carrier, soft in softs.items():
        word = decode(key, soft)
        if word.valid and chance < LIKELY:
            where = "speech and picture together" if carrier == "both" else f"the {carrier}"
            text = f"the id {word.id} stands in {where} (by chance at most {_probability(chance)}: {_each(readings)})"
            return Finding("watermark", "found", text, [word.id], {**details, "id": word.id})
    if chance < SURE:
        text = f"a mark of this key is there, but its id cannot be read (by chance at most {_probability(chance)}: {_each(readings)})"
        return Finding("watermark", "found", text, [], details)
    looked = f" ({_each(readings)})" if readings else ", for there is neither sound nor a picture"
    sure = "no mark of this key"
    if chance < LIKELY:
        sure = "signs of a mark of this key, too weak to count as one"
    return Finding("watermark", "none", f"{sure}{looked}", [], details)


def _probability(p: float) -> str:
    return f"{p:.1e}" if p > LEAST else f"{LEAST:.0e}"


def _each(readings: dict[str, Reading]) -> str:
    return ", ".join(
        f"{name} p {'=' if reading.p > LEAST else '<'} {_probability(reading.p)}"
        for name, reading in readings.items()
    )


def heard(path: str) -> np.ndarray | None:
    """The sound of a file that is looked at, float32[n] at `RATE`; None where it has none."""
    try:
        samples = load_audio(path, RATE)
    except MediaError:
        return None
    begin = max(0, (len(samples) - SOUND * RATE) // 2)
    return samples[begin : begin + SOUND * RATE]


def seen(path: str) -> tuple[Looked, Looked] | None:
    """The pictures of a file that are looked at: as a whole, and around mouths; None where it has none."""
    try:
        info = probe_video(path)
        times = [float((pts - int(info.pts[0])) * info.time_base) for pts in info.pts.tolist()]
        middle = max(0.0, times[-1] / 2 - PICTURES / 2)
        start = int(np.searchsorted(times, middle))
        stop = int(np.searchsorted(times, middle + PICTURES))
        whole, mouths = Look(), Look()
        for luma, seconds, where in frames_with_mouths(path, start, stop, times, make_backend("dlib", "cpu")):
            whole.add(luma, seconds)
            mouths.add(luma, seconds, where)
    except MediaError:
        return None
    return whole.looked, mouths.looked


def read_seen(key: MarkKey, looks: tuple[Looked, Looked]) -> Reading:
    """Look for a mark of the whole picture and for one around mouths, then for either in a part of the original."""
    best = Reading(0.0, 1, np.zeros(0))
    tried = 0
    for cropped in (False, True):
        for looked in looks:
            reading = read_picture(key, looked, cropped)
            tried += reading.tried
            if not len(best.soft) or reading.z > best.z:
                best = reading
        if best.p < SURE:
            break
    return Reading(best.z, tried, best.soft, best.where)


def frames_with_mouths(
    path: str, start: int, stop: int, times: list[float], faces: FaceBackend
) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """Luma of frames, uint8[h, w], their times from the first one on, and the region of mouths, float32[h, w]."""
    last, boxes = -1.0, list[Box]()
    for frame in read_frames(path, start, stop):
        luma = frame.luma()
        seconds = times[frame.index] - times[start]
        if last < 0 or seconds - last >= 1 / FACES:
            boxes, last = mouths_of(faces, luma) or boxes, seconds
        where = np.zeros(luma.shape, np.float32)
        for left, top, right, bottom in boxes:
            where[top:bottom, left:right] = 1
        yield luma, seconds, where
