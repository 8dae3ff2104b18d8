"""A mouth's track, 100 times a second, read at the frames of a video, whatever their spacing."""

from __future__ import annotations

import numpy as np

from operators.speech.spectrum import TRACK_RATE

#: No frame averages over more than this before and after its time: a held frame shows one moment, not the
#: mean of a sentence.
LONGEST_HALF = 0.06
#: Frames alone in their row are taken to last this long.
LONE_FRAME = 0.04


def frame_cells(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Time span of each frame: half way to its neighbours on either side, at most `LONGEST_HALF`.

    A camera's frame shows the moment of its timestamp, not the mean of the time until the next frame: a cell
    lies around the timestamp, otherwise mouths would be half a frame early. The outer frames' missing
    neighbours are taken to be as far as the others.

    Args:
        times: float64[N], ascending seconds.

    Returns:
        Start and end seconds, float64[N] each.
    """
    gaps = np.diff(times) / 2 if len(times) > 1 else np.full(1, LONE_FRAME / 2)
    gaps = np.clip(gaps, 1e-3, LONGEST_HALF)
    before, after = (gaps, gaps) if len(times) == 1 else (np.append(gaps[0], gaps), np.append(gaps, gaps[-1]))
    return times - before, times + after


def sample_track(track: np.ndarray, times: np.ndarray, beyond: float | None = None) -> np.ndarray:
    """Average a track over the cell of each frame.

    Args:
        track: float[n] at 100 Hz; value k stands for k x 10 ms +- 5 ms.
        times: float64[N], ascending seconds of the frames; they may lie outside the track.
        beyond: value before and after the track; None: its first and last.

    Returns:
        float32[N].
    """
    start, end = frame_cells(np.asarray(times, np.float64))
    first, last = (track[0], track[-1]) if beyond is None else (beyond, beyond)
    total = np.concatenate([[0.0], np.cumsum(track, dtype=np.float64)])

    def integral(seconds: np.ndarray) -> np.ndarray:
        position = seconds * TRACK_RATE + 0.5
        outside = first * np.minimum(position, 0.0) + last * np.maximum(position - len(track), 0.0)
        return np.interp(position, np.arange(len(total)), total) + outside

    return ((integral(end) - integral(start)) / ((end - start) * TRACK_RATE)).astype(np.float32)


def speech_strength(times: np.ndarray, duration: float, ease: float) -> np.ndarray:
    """float32[N]: 1 from the speech's start to its end, eased (raised cosine) to 0 over ``ease`` seconds
    before and after.
    """
    outside = np.maximum(np.maximum(-times, times - duration), 0.0)
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(outside / max(ease, 1e-6), 0.0, 1.0))).astype(np.float32)
