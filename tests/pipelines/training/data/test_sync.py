"""Offsets that were made are found, and sound of somebody else is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.heard import hear
from operators.evaluation.lse import SyncScore
from operators.evaluation.sync_protocols import TrackSync
from pipelines.training.data.sync import Sync, by_expert, by_landmarks
from tests.pipelines.training.footage import sound_of, write_sound


def mouth(seconds: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Times at 25 a second and openings that change some four times a second."""
    times = np.arange(int(25 * seconds)) / 25
    knots = np.arange(0, seconds + 0.3, 0.12)
    return times, 0.1 * np.interp(times, knots, np.random.default_rng(seed).uniform(0, 1, len(knots)))


@pytest.mark.parametrize("late", [-5, 0, 3])
def test_an_offset_is_found(tmp_path: Path, late: int) -> None:
    """A picture that is late by n frames has sound that is early by so many."""
    times, opening = mouth(12)
    heard = hear(str(write_sound(tmp_path / f"{late}.wav", sound_of(times, opening, late / 25, 13))))
    found = by_landmarks(times, opening, heard)
    assert (found.by, found.offset, found.in_sync) == ("landmarks", late, True)
    assert found.confidence > 0.5


def test_sound_of_another_mouth_is_refused_where_there_is_enough_of_it(tmp_path: Path) -> None:
    heard = hear(str(write_sound(tmp_path / "other.wav", sound_of(*mouth(20, seed=5), seconds=20))))
    long = by_landmarks(*mouth(20), heard)
    assert (long.by, long.in_sync) == ("landmarks", False)
    times, opening = mouth(20)
    short = by_landmarks(times[:50], opening[:50], heard)
    assert short == Sync()


def test_a_mouth_that_stands_tells_nothing(tmp_path: Path) -> None:
    times, opening = mouth(12)
    heard = hear(str(write_sound(tmp_path / "a.wav", sound_of(times, opening, seconds=12))))
    assert by_landmarks(times, np.full_like(opening, 0.02), heard) == Sync()


def score(offset: int, confidence: float) -> SyncScore:
    return SyncScore(np.zeros(31, np.float32), 7.0, confidence, offset)


def test_the_expert_goes_by_the_frames_of_confident_tracks() -> None:
    rows = [
        TrackSync(0, 100, score(2, 5.0)),
        TrackSync(100, 160, score(2, 6.5)),
        TrackSync(160, 300, score(-1, 4.0)),
        TrackSync(300, 900, score(9, 1.0)),
    ]
    assert by_expert(rows) == Sync("expert", 2.0, 6.5)
    assert by_expert(rows[3:]) == Sync("expert", 0.0, 1.0, in_sync=False)
    assert by_expert([]) == Sync()
