"""Following a real face that moves in a known way, leaves, returns; and forgetting what lies longer back than
`MEMORY`.
"""

import cv2
import numpy as np
import pytest

from operators.faces.canonical import STABLE
from operators.faces.dlib_backend import DlibBackend
from operators.faces.geometry import eye_distance
from operators.faces.search import find_anywhere
from operators.faces.seed import Seeder
from operators.faces.tracking import GHOST, GRID, MEMORY, Sighting, Tracker, head_motion, on_grid
from operators.numeric.affine import apply
from tests.operators.faces.footage import astronaut, carphone, luma, swaying

WALL = np.full((512, 512), 120, np.uint8)


def follow(
    backend: DlibBackend, frames: list[np.ndarray], anchor: np.ndarray, start: int = 0
) -> list[Sighting | None]:
    tracker = Tracker(Seeder(backend, anchor, lambda picture, landmarks: False), 0)
    return [tracker.step(start + t, frame) for t, frame in enumerate(frames)]


@pytest.fixture(scope="module")
def anchor(backend: DlibBackend) -> np.ndarray:
    return find_anywhere(backend, luma(astronaut()))[0][0]


@pytest.fixture(scope="module")
def sway() -> tuple[list[np.ndarray], np.ndarray]:
    frames, transforms = swaying(luma(astronaut()), 40)
    return frames, transforms


def test_landmarks_and_motion_follow_a_moving_head(
    backend: DlibBackend, anchor: np.ndarray, sway: tuple
) -> None:
    frames, transforms = sway
    sightings = follow(backend, frames, anchor)
    assert all(s is not None and not s.ghost and not s.doubtful for s in sightings)
    still = [
        apply(cv2.invertAffineTransform(a), s.landmarks)
        for a, s in zip(transforms, sightings, strict=True)
        if s is not None
    ]
    scatter = np.std(still, axis=0)[STABLE].mean() / eye_distance(np.mean(still, 0))
    assert scatter < 0.012  # of an eye distance of 43 pixels: half a pixel
    for t in range(1, len(frames)):
        sighting = sightings[t]
        assert sighting is not None
        assert sighting.motion is not None
        points = apply(transforms[t - 1], np.mean(still, 0)[STABLE])
        wanted = apply(transforms[t], np.mean(still, 0)[STABLE])
        assert np.abs(apply(sighting.motion, points) - wanted).max() < 0.4


def test_a_face_that_leaves_and_returns(backend: DlibBackend, anchor: np.ndarray, sway: tuple) -> None:
    frames = [WALL if 13 <= t < 26 else frame for t, frame in enumerate(sway[0])]
    sightings = follow(backend, frames, anchor)
    there = [s is not None and not s.ghost for s in sightings]
    assert all(there[:13])
    assert not any(there[13:26])
    assert all(there[26:])
    assert [t for t, s in enumerate(sightings) if s is not None and s.ghost] == list(range(13, 13 + GHOST))
    back = sightings[26]
    assert back is not None
    assert back.motion is None


def test_nothing_is_remembered_longer_than_memory(backend: DlibBackend, sway: tuple) -> None:
    frames = [luma(picture) for picture in carphone()[:70]]
    for t in (9, 18, 36, 37, 38):  # seeds fail there
        frames[t] = np.full_like(frames[t], 90)
    anchor = find_anywhere(backend, frames[0])[0][0]
    whole = follow(backend, frames, anchor)
    for start in (5, 14, 22, 31):
        part = follow(backend, frames[start:], anchor, start)
        for t in range(start + MEMORY, len(frames)):
            a, b = whole[t], part[t - start]
            assert (a is None) == (b is None), (start, t)
            if a is not None and b is not None:
                np.testing.assert_array_equal(a.landmarks, b.landmarks)
                np.testing.assert_array_equal(a.patch, b.patch)
                assert (a.spread, a.doubtful, a.ghost) == (b.spread, b.doubtful, b.ghost) or a.ghost
                np.testing.assert_array_equal(np.asarray(a.motion, float), np.asarray(b.motion, float))


def test_the_grid_is_of_the_title() -> None:
    assert [t for t in range(30) if on_grid(t, 5)] == [5, *range(0, 30, GRID)] or on_grid(5, 5)
    assert not on_grid(6, 5)
    assert on_grid(2 * GRID, 5)


def test_motion_between_different_pictures_is_unknown() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (2, 360, 360)).astype(np.uint8)
    points = np.random.default_rng(2).uniform(75, 285, (68, 2))
    assert head_motion(noise[0], noise[1], points) is None
