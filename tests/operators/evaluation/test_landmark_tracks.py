"""Tracks of one clip by both judges: the same mouth, each by landmarks of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.landmark_tracks import track_landmarks
from operators.evaluation.mouth_tracks import opening_track
from operators.faces.geometry import eye_distance
from tests.operators.faces.footage import carphone, encode

pytestmark = pytest.mark.usefixtures("one_thread")


def test_both_judges_see_the_same_mouth(
    face_mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    frames = [*carphone()[:24], np.full_like(carphone()[0], 90)]
    url = encode(tmp_path / "talk.mp4", frames)
    dlib, mesh = (track_landmarks(url, describe=False, judge=judge) for judge in ("dlib", "mesh"))
    np.testing.assert_array_equal(dlib.times, mesh.times)
    assert mesh.found[:24].all()
    assert not mesh.found[24:].any()
    assert not mesh.landmarks[24:].any()
    both = dlib.found[:24]
    assert both.mean() > 0.8
    ours, theirs = mesh.landmarks[:24][both], dlib.landmarks[:24][both]
    apart = np.linalg.norm(ours - theirs, axis=2) / eye_distance(theirs)[:, None]
    assert np.median(apart) < 0.06
    assert apart.max() > 0.01  # not the other's points
    assert np.corrcoef(opening_track(ours), opening_track(theirs))[0, 1] > 0.7


def test_an_unknown_judge_is_refused(tmp_path: Path) -> None:
    url = encode(tmp_path / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 2)
    with pytest.raises(ValueError, match="'eyes': use one of dlib, mesh"):
        track_landmarks(url, judge="eyes")  # type: ignore[arg-type]
