"""Offset of a video's picture and sound, by the lip-sync expert or by the opening of the mouth.

Networks that are trained on pairs which are not in step learn nothing: offsets are corrected, and what follows its sound at no
offset is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from operators.evaluation.agreement import GAIN, LAGS, Mouths, correlations
from operators.evaluation.heard import Heard
from operators.evaluation.sync_protocols import TrackSync
from pipelines.training.data.schema import RATE

#: Confidence (LSE-C) of the expert below which picture and sound do not belong together: the usual limit of public training
#: pipelines.
LEAST_CONFIDENCE = 3.0
#: Correlation of mouth and expected mouth that a video must reach at some offset, and standard errors that it has to be away from
#: chance; frames of speech count a quarter each, because neighbours are alike.
LEAST_CORRELATION, LEAST_ERRORS, FRAMES_PER_SAMPLE = 0.3, 3.0, 4
#: Frames from which a video without such a correlation counts as out of sync; with fewer it cannot be told.
TELLING = 200
#: Frames from which a small gain is enough to move the sound, and that gain.
LONG, LONG_GAIN = 250, 0.05


@dataclass(frozen=True)
class Sync:
    """Offset of a video.

    Attributes:
        by: "expert", "landmarks", or "" where it could not be told.
        offset: frames at 25 a second by which the picture is late; 0 where it could not be told.
        confidence: LSE-C, or the correlation.
        in_sync: False: picture and sound do not belong together.
    """

    by: Literal["expert", "landmarks", ""] = ""
    offset: float = 0.0
    confidence: float = 0.0
    in_sync: bool = True


def by_expert(rows: Sequence[TrackSync]) -> Sync:
    """Offset of a video's scored face tracks: that of most frames among the confident ones; unknown without tracks."""
    if not rows:
        return Sync()
    sure = [row for row in rows if row.score.lse_c >= LEAST_CONFIDENCE]
    if not sure:
        return Sync("expert", 0.0, max(row.score.lse_c for row in rows), in_sync=False)
    frames: dict[int, int] = {}
    for row in sure:
        frames[row.score.offset] = frames.get(row.score.offset, 0) + row.stop - row.start
    offset = max(frames, key=lambda one: (frames[one], -abs(one)))
    return Sync("expert", float(offset), max(r.score.lse_c for r in sure if r.score.offset == offset))


def by_landmarks(times: np.ndarray, opening: np.ndarray, heard: Heard) -> Sync:
    """Offset from mouth openings.

    Args:
        times: float64[n], seconds of frames with a face.
        opening: float64[n], their `operators.faces.geometry.lip_opening`.
        heard: the sound.
    """
    speech = heard.at("silence", times) < 0.5
    count = int(speech.sum())
    curve = correlations(Mouths(times, opening), heard)
    if not np.isfinite(curve[LAGS]):
        return Sync()
    best = int(np.nanargmax(curve))
    needed = max(LEAST_CORRELATION, LEAST_ERRORS / math.sqrt(max(count / FRAMES_PER_SAMPLE, 1)))
    if curve[best] < needed:
        return Sync("landmarks", 0.0, float(curve[best]), in_sync=False) if count >= TELLING else Sync()
    gain = LONG_GAIN if count >= LONG else GAIN
    offset = best - LAGS if curve[best] - curve[LAGS] >= gain else 0
    return Sync("landmarks", float(offset), float(curve[offset + LAGS]))


def tick_times(ticks: np.ndarray) -> np.ndarray:
    """Seconds from the video's first frame on at which ticks int64[n] of 25 a second begin."""
    return ticks / RATE
