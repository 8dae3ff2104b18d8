"""Shots: where the picture cuts, by PySceneDetect's adaptive detector on our own frames, so that frame numbers agree exactly.

Used by the planner. A segment never crosses a cut, and each shot has its own anchor face.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

from operators.media.frames import Frame

#: Long side of the pictures that the detector compares.
LONG_SIDE = 320
#: Frames between two cuts, at least: shorter ones are flashes.
SHORTEST = 5
#: A timecode asks for a rate; counting frames, it plays no part.
RATE = 25.0


def find_shots(frames: Iterable[Frame], n_frames: int) -> list[tuple[int, int]]:
    """Cut a title into shots.

    Args:
        frames: all frames of the title in order; read once, none is kept.
        n_frames: how many there are.

    Returns:
        [start, stop) frame numbers of the shots, covering the title without gaps. A title without a cut is one shot.
    """
    finder = ShotFinder()
    for frame in frames:
        finder.add(frame)
    return finder.shots(n_frames)


class ShotFinder:
    """`find_shots`, frame by frame."""

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(min_scene_len=SHORTEST)
        self._cuts: set[int] = set()
        self._timecode = FrameTimecode(0, RATE)

    def add(self, frame: Frame) -> None:
        """Look at the next frame."""
        self._timecode = FrameTimecode(frame.index, RATE)
        self._cuts |= {cut.frame_num for cut in self._detector.process_frame(self._timecode, _small_bgr(frame))}

    def shots(self, n_frames: int) -> list[tuple[int, int]]:
        """See `find_shots`; after the last frame."""
        cuts = self._cuts | {cut.frame_num for cut in self._detector.post_process(self._timecode)}
        edges = [0, *sorted(cut for cut in cuts if 0 < cut < n_frames), n_frames]
        return list(itertools.pairwise(edges))


def _small_bgr(frame: Frame) -> np.ndarray:
    """uint8[h, w, 3] BGR, reduced, in coded orientation: a cut is a cut from any side."""
    picture = frame.picture
    scale = min(1.0, LONG_SIDE / max(picture.width, picture.height))
    size = {"width": max(2, round(picture.width * scale)), "height": max(2, round(picture.height * scale))}
    return picture.reformat(**size, format="bgr24", interpolation="AREA").to_ndarray()
