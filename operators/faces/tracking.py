"""One person through consecutive frames: seeds on a grid of frame numbers, and tracking from each as far as
the next but one.

The sighting in frame t depends on frames t - `MEMORY` to t and on nothing before, wherever reading began:
that is the halo. A grid frame (`on_grid`) searches for the face again. Where it fails (the HOG detector sees
faces from the front only) the track that the previous grid frame began goes on, once. Where there is no
track, every frame looks near the anchor.

So the state in a block from grid frame g to the next depends on frames from g - `GRID` on: a track that an
older seed began has ended by then, and one begun between grid frames ends at the next grid frame that does
not see the face.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from operators.faces.appearance import patch_of
from operators.faces.canonical import EYE, STABLE, transform_of_landmarks
from operators.faces.geometry import MOUTH, eye_distance
from operators.faces.picture import Picture
from operators.faces.seed import Look, Seeder, crop_of, look
from operators.numeric.affine import apply, compose, invert, robust_similarity

#: Frames between grid frames.
GRID = 9
#: Frames between two confirmations of a track by the detector.
CONFIRM = 3
#: Frames for which a lost face leaves a ghost: the picture where it was last seen.
GHOST = 3
#: Frames before frame t that what is known of it may depend on.
MEMORY = 2 * GRID + GHOST
#: A tracked face below this score is in doubt; twice in a row, it is lost.
LOST = -0.3


def on_grid(index: int, shot_start: int) -> bool:
    """True if this frame searches for the face again: multiples of `GRID` in the title, and the first frame
    of a shot.
    """
    return index % GRID == 0 or index == shot_start


@dataclasses.dataclass
class Sighting:
    """Sighting of the face in one frame.

    Attributes:
        landmarks: float64[68, 2], picture pixels, not smoothed; NaN for a ghost.
        spread: uncertainty of the mouth's points, eye distances.
        score: the detector's score, NaN in frames where it was not asked.
        motion: float64[2, 3], how the head moved in the picture since the frame before; None: not known, or
            the face is new.
        doubtful: the detector did not see the face when it was last asked.
        ghost: the face was lost up to `GHOST` frames ago; the patch shows where it was.
        patch: float32[ROWS, COLUMNS], see `appearance.patch_of`.
        yaw: degrees, of the mesh; NaN without one.
    """

    landmarks: np.ndarray
    spread: float
    score: float
    motion: np.ndarray | None
    doubtful: bool
    ghost: bool
    patch: np.ndarray
    yaw: float = float("nan")


def head_motion(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Similarity by which brows, nose and eyes moved between two crops of one transform (pyramidal
    Lucas-Kanade), None if unclear.

    Args:
        before, after: uint8[SIDE, SIDE(, 3)].
        points: float64[68, 2], landmarks in ``before``.
    """
    source = points[STABLE].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
    target, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        source[:, None],
        np.empty(0, np.float32),
        winSize=(21, 21),
        maxLevel=3,
        criteria=criteria,
    )
    kept = found[:, 0] > 0
    if kept.sum() < 12:
        return None
    source, target = source[kept].astype(np.float64), target[kept, 0].astype(np.float64)
    motion = robust_similarity(source, target)
    agree = np.linalg.norm(apply(motion, source) - target, axis=1) < 0.025 * EYE
    return motion if agree.sum() >= 12 and 0.7 < np.hypot(motion[0, 0], motion[1, 0]) < 1.4 else None


class Tracker:
    """Feed consecutive frames to `step`."""

    def __init__(self, seeder: Seeder, shot_start: int) -> None:
        self._seeder = seeder
        self._shot_start = shot_start
        self._look: Look | None = None
        self._doubtful = False
        #: Grid frames that the running track may still pass without being found again.
        self._credit = 0
        #: A lost face as last seen, and for how many frames more that is of interest.
        self._ghost: tuple[Look, int] | None = None
        #: Result of the last grid frame's search.
        self.seed: Look | None = None

    def step(self, index: int, picture: Picture) -> Sighting | None:
        """Sighting in this frame; None: the face is not there.

        Args:
            index: number of the frame in the title; one more than that of the call before.
            picture: as the backend wants it: luma, RGB, or a frame.
        """
        before, motion = self._look, None
        grid = on_grid(index, self._shot_start)
        if before is not None:
            motion = self._motion(before, picture)
        if grid:
            self.seed = self._seeder.anywhere(picture)
            self._credit = self._credit - 1 if self.seed is None else 1
        if grid and self.seed is not None:
            self._look, self._doubtful = self.seed, False
            if (
                before is not None
                and motion is not None
                and not _same_place(apply(motion, before.landmarks), self.seed.landmarks)
            ):
                motion = None
        elif before is not None and self._credit >= 0:
            self._follow(before, motion, index, picture)
        else:
            self._look = None
            if not grid:
                self._look, self._doubtful, self._credit = self._seeder.near(picture, tilted=False), False, 0
        return self._sighting(before, motion, picture)

    def _motion(self, before: Look, picture: Picture) -> np.ndarray | None:
        crop = crop_of(self._seeder.backend, picture, before.transform)
        motion = head_motion(before.crop, crop, apply(before.transform, before.landmarks))
        return (
            None if motion is None else compose(invert(before.transform), compose(motion, before.transform))
        )

    def _follow(self, before: Look, motion: np.ndarray | None, index: int, picture: Picture) -> None:
        expected = before.landmarks if motion is None else apply(motion, before.landmarks)
        seen = look(
            self._seeder.backend,
            picture,
            transform_of_landmarks(expected),
            float("nan"),
            guesses=int(motion is None),
            before=before,
            motion=motion,
            exact=index % CONFIRM == 0,
        )
        judged = not np.isnan(seen.score)
        if index % CONFIRM == 0 or motion is None or judged:
            if not judged:
                seen.score = self._seeder.backend.confirm(seen.crop)
            if seen.score < LOST and (self._doubtful or motion is None):
                self._look = None
                return
            self._doubtful = seen.score < LOST
        self._look = seen

    def _sighting(self, before: Look | None, motion: np.ndarray | None, picture: Picture) -> Sighting | None:
        seen = self._look
        if seen is not None:
            self._ghost = None
            spread = float(seen.spread[MOUTH].mean())
            return Sighting(
                seen.landmarks,
                spread,
                seen.score,
                motion,
                self._doubtful,
                False,
                patch_of(seen.crop, apply(seen.transform, seen.landmarks)),
                seen.yaw,
            )
        if before is not None:
            self._ghost = (before, GHOST)
        if self._ghost is None:
            return None
        lost, left = self._ghost
        self._ghost = (lost, left - 1) if left > 1 else None
        crop = crop_of(self._seeder.backend, picture, lost.transform)
        patch = patch_of(crop, apply(lost.transform, lost.landmarks))
        return Sighting(np.full((68, 2), np.nan), float("nan"), float("nan"), None, True, True, patch)


def _same_place(expected: np.ndarray, found: np.ndarray) -> bool:
    """True if a newly found face is the one that was followed."""
    return bool(np.linalg.norm(expected[STABLE] - found[STABLE], axis=1).mean() < 0.25 * eye_distance(found))
