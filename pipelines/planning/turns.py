"""``--face speaking``: the turns of the people in a row, from the source's own lips and sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operators.storage.errors import NoAudioError
from pipelines.engine.rows import Row

UNSURE = "in places it could not be said for certain who speaks: the mouths there stay as they are (docs/speakers.md)"
NOBODY_SPEAKS = "in places nobody in the picture speaks: the mouths there stay as they are (docs/speakers.md)"
SOUNDLESS = "the video has no sound that could say who speaks: all mouths stay as they are (docs/speakers.md)"

#: What the first two of these notes say where it is so in the whole title.
THROUGHOUT = {
    UNSURE: "nowhere could it be said for certain who speaks: all mouths stay as they are (docs/speakers.md)",
    NOBODY_SPEAKS: "nobody in the picture speaks: all mouths stay as they are (docs/speakers.md)",
}


def turns_in(row: Mapping[str, Any], people: Sequence[Row]) -> tuple[np.ndarray, list[str]]:
    """Find who of a row's people speaks in each of its frames.

    Args:
        row: with the columns of the stages that run once per segment, before the fan-out.
        people: the row's own person and its others, with ``landmarks`` and ``valid``.

    Returns:
        bool[P, T], and notes.

    Raises:
        MediaError: the video's sound cannot be read.
    """
    # Imported here: most runs need neither.
    from operators.faces.geometry import lip_opening, mouth_width
    from operators.faces.speaking import NOBODY, find_turns
    from operators.speech.sampling import sample_track
    from operators.speech.stage import mouth_of

    pts = np.asarray(row["pts"], np.int64)
    times = (pts - int(row["out_origin"])) * (row["time_base_num"] / row["time_base_den"])
    nobody = np.zeros((len(people), len(pts)), bool)
    try:
        track, _ = mouth_of(row["video"], 0.6, "auto")
    except NoAudioError:
        return nobody, [SOUNDLESS]
    if (track.silence >= 1).all():
        return nobody, [NOBODY_SPEAKS]
    mouths = np.full((len(people), 2, len(pts)), np.nan)
    for number, person in enumerate(people):
        valid = np.asarray(person["valid"], bool)
        landmarks = np.asarray(person["landmarks"], np.float64)[valid]
        mouths[number][:, valid] = lip_opening(landmarks), mouth_width(landmarks)
    heard = np.stack([sample_track(one, times) for one in (track.opening, track.width)])
    silence = sample_track(track.silence, times, beyond=1.0)
    turns = find_turns(mouths, heard, silence, times)
    notes = [UNSURE] if turns.unsure.any() else []
    if ((turns.speaker == NOBODY) & ~turns.unsure & (silence < 0.5)).any():
        notes.append(NOBODY_SPEAKS)
    return turns.speaker == np.arange(len(people))[:, None], notes
