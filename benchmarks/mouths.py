"""Measures of dubbed mouths for `benchmarks.exemplar`: closures, amplitude and teeth, on decoded files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from operators.faces.geometry import EYES, eye_distance
from operators.media.reader import read_frames
from operators.speech.phones import Phone

INNER_LIPS = np.arange(60, 68)
#: Lips count as shut within this share of a person's range (2nd to 98th percentile of the opening) above its lower end.
SHUT = 0.2
#: Seconds around the middle of a B, P or M within which lips must be seen shut: a frame of 25 fps, and as much again.
AROUND = 0.06
#: Pixels between the lips are teeth where they are brighter than this share of the face's median luma, and this much less red.
TOOTH_LUMA, TOOTH_RED = 0.75, 0.6


class Pair(NamedTuple):
    """A video to be dubbed, the clip whose sound is spoken and whose picture is the truth, and by how many frames of 25 fps that
    clip's own sound is late.
    """

    video: Path
    speech: Path
    late: int = 0


def read_pairs(path: Path) -> list[Pair]:
    """Read a list of pairs.

    Args:
        path: text, a pair a line: video, speech and optionally the frames that the speech is late, separated by blanks and quoted
            as in a shell. Files are relative to the list's folder. ``#`` begins a comment.

    Raises:
        ValueError: a line is not such a pair; names file and line.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                video, speech, *late = words
                (frames,) = late or ("0",)
                pairs.append(Pair(path.parent / video, path.parent / speech, int(frames)))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: expected VIDEO SPEECH [FRAMES LATE], got {line!r}"
            ) from error
    return pairs


def shut_level(opening: np.ndarray) -> float:
    """Opening below which this person's lips count as shut, of float[T] of a whole clip."""
    low, high = np.percentile(opening, [2, 98])
    return float(low + SHUT * (high - low))


def closure_recall(phones: Sequence[Phone], times: np.ndarray, opening: np.ndarray, shut: float) -> float:
    """Share of the speech's B, P and M at which the lips are seen shut; higher is better.

    Args:
        phones: of the speech.
        times: float[T] seconds of frames, ascending.
        opening: float[T], `operators.evaluation.mouth_tracks.opening_track`.
        shut: `shut_level` of the person in the picture.

    Returns:
        0 ... 1; NaN where there is no such phone within the times.
    """
    met = []
    for label, start, end in phones:
        middle = (start + end) / 2
        if label in ("B", "P", "M") and times[0] <= middle <= times[-1]:
            reach = max((end - start) / 2, AROUND)
            near = opening[np.abs(times - middle) <= reach]
            if len(near):
                met.append(float(near.min()) <= shut)
    return float(np.mean(met)) if met else float("nan")


def amplitude(opening: np.ndarray) -> float:
    """Spread of the opening float[T], 5th to 95th percentile."""
    low, high = np.percentile(opening, [5, 95])
    return float(high - low)


def stillness(times: np.ndarray, opening: np.ndarray, silent: np.ndarray) -> tuple[float, float]:
    """Mean opening where nobody speaks, and its mean change from frame to frame there, over eye distance; NaN without silence.

    Args:
        times: float[T] seconds.
        opening: float[T].
        silent: bool[T], `operators.evaluation.lip_leak.silent_at`.
    """
    inside = silent & (np.arange(len(times)) > 0)
    if inside.sum() < 5:
        return float("nan"), float("nan")
    moved = np.abs(np.diff(opening, prepend=opening[:1]))
    return float(opening[inside].mean()), float(moved[inside].mean())


def teeth(rgb: np.ndarray, landmarks: np.ndarray) -> float:
    """Area of the teeth that a frame shows, over the square of the distance of the eyes.

    Args:
        rgb: uint8[h, w, 3].
        landmarks: float[68, 2], px.
    """
    inner = np.round(landmarks[INNER_LIPS]).astype(np.int32)
    x, y, width, height = cv2.boundingRect(inner)
    x, y = max(x, 0), max(y, 0)
    mouth = rgb[y : y + height, x : x + width].astype(np.float32)
    if not mouth.size:
        return 0.0
    inside = cv2.fillPoly(np.zeros(mouth.shape[:2], np.uint8), [inner - [x, y]], 1) > 0
    low, high = landmarks[[*EYES, 33]].min(0).astype(int), landmarks[[*EYES, 33]].max(0).astype(int) + 1
    face = rgb[max(low[1], 0) : high[1], max(low[0], 0) : high[0]].reshape(-1, 3).astype(np.float32)
    luma, red = _luma_and_red(mouth)
    skin_luma, skin_red = (float(np.median(values)) for values in _luma_and_red(face))
    bright = inside & (luma > TOOTH_LUMA * skin_luma) & (red < TOOTH_RED * skin_red)
    return float(np.count_nonzero(bright) / eye_distance(landmarks) ** 2)


def _luma_and_red(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luma, and red over green relative to it, of float32[..., 3]."""
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma, (rgb[..., 0] - rgb[..., 1]) / (luma + 16)


def teeth_track(video: str, landmarks: np.ndarray, frames: slice) -> np.ndarray:
    """`teeth` of consecutive frames of a file: float64[n] for landmarks float[T, 68, 2] of the whole file."""
    return np.array(
        [
            teeth(frame.rgb(), landmarks[frame.index])
            for frame in read_frames(video, frames.start, frames.stop)
        ]
    )


def tooth_flicker(area: np.ndarray) -> float:
    """Mean second difference of the teeth's area float[n] over the mean area; NaN where no teeth show."""
    if len(area) < 3 or area.mean() < 1e-4:
        return float("nan")
    return float(np.abs(np.diff(area, 2)).mean() / area.mean())
