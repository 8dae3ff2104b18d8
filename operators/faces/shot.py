"""Model of the chosen person from a few frames spread over a shot: looks of the free lower face, and
identity.

The frames depend on the shot alone, so that every segment of it judges by the same measure. Those inside a
segment come from its own decoding; the others are decoded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np

from operators.faces.appearance import COLUMNS, ROWS, References, patch_of
from operators.faces.backend import gives_mesh
from operators.faces.geometry import MOUTH
from operators.faces.identity import SAME, Recogniser, distance
from operators.faces.picture import Picture
from operators.faces.seed import Look, Seeder
from operators.faces.tracking import GRID
from operators.numeric.affine import apply

#: Share of the samples that a mesh is surest of, which serve as references.
SUREST_OF_MESH = 0.5
Fetch = Callable[[Iterable[int]], Iterable[tuple[int, Picture]]]


def sample_frames(shot: tuple[int, int], count: int) -> list[int]:
    """Up to ``count`` frames spread evenly over the shot, on the grid where tracks begin
    (`tracking.on_grid`).
    """
    start, stop = shot
    wanted = start + (np.arange(count) + 0.5) * (stop - start) / count
    return sorted({max(int(w) // GRID * GRID, start) for w in wanted})


def _measure(seen: Look) -> tuple[np.ndarray, float, float]:
    """Patch, uncertainty of the mouth and score, as `References` wants them."""
    return (
        patch_of(seen.crop, apply(seen.transform, seen.landmarks)),
        float(seen.spread[MOUTH].mean()),
        seen.score,
    )


class ShotModel:
    """One person in one shot.

    Args:
        seeder: finds the person; its ``recognise`` is set to this model's.
        shot: source frames [start, stop).
        count: frames to sample.
        fetch: pictures of the frames named, in ascending order.
        recognise: False: a face far from the anchor is nobody's, and no descriptor is loaded.
    """

    def __init__(
        self, seeder: Seeder, shot: tuple[int, int], count: int, fetch: Fetch, recognise: bool = True
    ) -> None:
        self.samples = sample_frames(shot, count)
        self.seeder = seeder
        self._fetch = fetch
        self._seen: dict[int, tuple[np.ndarray, float, float] | None] = {}
        self._references: References | None = None
        seeder.recognise = self.recognise if recognise else lambda picture, landmarks: False

    def note(self, index: int, seed: Look | None) -> None:
        """Keep what a grid frame showed, if it is a sample."""
        if index in self.samples:
            self._seen[index] = None if seed is None else _measure(seed)

    def references(self) -> References:
        """The free lower face, from all samples."""
        if self._references is None:
            for index, picture in self._fetch([i for i in self.samples if i not in self._seen]):
                self.note(index, self.seeder.anywhere(picture))
            seen = [s for _, s in sorted(self._seen.items()) if s is not None]
            patches = np.array([s[0] for s in seen], np.float32).reshape(-1, ROWS, COLUMNS)
            self._references = References(
                patches,
                np.array([s[1] for s in seen]),
                np.array([s[2] for s in seen]),
                SUREST_OF_MESH if gives_mesh(self.seeder.backend) else 1.0,
            )
        return self._references

    def recognise(self, picture: Picture, landmarks: np.ndarray) -> bool:
        """True if a face far from the anchor is that of the samples where the anchor is, or no sample shows
        it.
        """
        if not len(self._known):
            return True
        return distance(self._recogniser.describe(picture, landmarks), self._known) < SAME

    @cached_property
    def _recogniser(self) -> Recogniser:
        return Recogniser()

    @cached_property
    def _known(self) -> np.ndarray:
        """float64[n, 128]."""
        looks = [
            (picture, self.seeder.near(picture, tilted=True)) for _, picture in self._fetch(self.samples)
        ]
        return np.array(
            [
                self._recogniser.describe(picture, seen.landmarks)
                for picture, seen in looks
                if seen is not None
            ]
        )
