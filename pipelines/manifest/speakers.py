"""Several speakers of a dub: the columns ``speakers`` and ``mix``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.manifest.cells import RowError, face_choice, file_path
from pipelines.manifest.consent import consent_of
from pipelines.manifest.titles import FACES, SPEAKING, Speaker, is_picture

#: People who are dubbed in a title, at most.
MOST = 8
KEYS = ("face", "speech", "consent")
EXAMPLE = '[{"face": "left", "speech": "anna.wav"}, {"face": "right", "speech": "bob.wav"}]'


def speakers_of(entry: Mapping[str, Any], folder: str) -> tuple[tuple[Speaker, ...], str]:
    """Read the column ``speakers``: ``[{face, speech, consent}, ...]``, of which the last may be left out, or the same as JSON in a text.

    Args:
        entry: the row, or its entry of ``dubs``.
        folder: that relative paths may lie in.

    Returns:
        The speakers, none where the column is empty; and what is wrong where a file is missing.

    Raises:
        RowError: it is something else, a face is named twice, or there is a ``speech`` beside it.
    """
    value = entry.get("speakers")
    if value is None or value in ("", []):
        if entry.get("mix"):
            raise RowError("mix: goes with speakers; the sound of a lone speech is the speech")
        return (), ""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowError(
                f"speakers: must be JSON such as {EXAMPLE}, got {value[:80]!r} ({error})"
            ) from error
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, Mapping) for one in value):
        raise RowError(
            "speakers: must be a list of {face, speech}, with consent where it is the speaker's own"
        )
    if len(value) > MOST:
        raise RowError(f"speakers: names {len(value)} people, at most {MOST} are dubbed")
    if entry.get("speech"):
        raise RowError("speech: each of the speakers has its own; what is heard in place of their sum is mix")
    found: list[Speaker] = []
    problems = []
    for number, one in enumerate(value, 1):
        try:
            speaker, missing = _speaker(one, folder)
        except RowError as problem:
            raise RowError(f"speakers.{number}: {problem}") from problem
        if speaker.face in [other.face for other in found]:
            raise RowError(f"speakers.{number}: face {speaker.face!r} is named twice")
        found.append(speaker)
        problems += [f"speakers.{number}: {missing}"] if missing else []
    return tuple(found), "; ".join(problems)


def _speaker(one: Mapping[str, Any], folder: str) -> tuple[Speaker, str]:
    """One entry, and what is wrong where a file is missing."""
    if unknown := [str(key) for key in one if key not in KEYS]:
        raise RowError(f"{unknown[0]!r} is unknown; it has {', '.join(KEYS)}")
    if one.get("face") in (None, ""):
        raise RowError("face: is missing")
    try:
        face = face_choice(one, "", [word for word in FACES if word != SPEAKING])
    except RowError as problem:
        raise RowError(f"{problem}; `retalk faces VIDEO -o FOLDER` shows who is in a title") from problem
    if face == SPEAKING:
        raise RowError("face: 'speaking' is for one speech and several faces; name a face")
    problems = []
    if is_picture(face):
        face, missing = file_path({"face": face}, "face", folder)
        problems += [missing] if missing else []
    speech, missing = file_path(one, "speech", folder)
    return Speaker(face, speech, consent_of(one.get("consent"))), "; ".join(
        [*problems, *([missing] if missing else [])]
    )
