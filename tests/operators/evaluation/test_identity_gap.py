"""Distance of a drawn face from the person's, on a photograph of one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from benchmarks.broken import other_face, paste_face, whole
from operators.evaluation.identity_gap import IdentityGap, _first
from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.segment import Segment

skimage = pytest.importorskip("skimage.data", reason="the package scikit-image is not installed (extra demo)")


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut, four frames."""
    path = tmp_path_factory.mktemp("face") / "still.mp4"
    picture = np.ascontiguousarray(skimage.astronaut()[:320, 60:380])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=320, height=320, pix_fmt="yuv420p")
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def row(landmarks: np.ndarray, count: int = 4, **changes: Any) -> Segment:
    plain: dict[str, Any] = {
        **{
            "start": 0,
            "stop": count,
            "halo_start": 0,
            "halo_stop": count,
            "shot_start": 0,
            "shot_stop": count,
        },
        **{"time_base_num": 1, "time_base_den": 25, "pts": np.arange(count), "valid": np.ones(count, bool)},
    }
    return Segment({**plain, "landmarks": np.repeat(landmarks[None], count, 0), **changes})


def measured(frame: Frame, segment: Segment) -> float:
    return IdentityGap().sample(segment, 2, frame)


def test_another_mouth_is_the_same_person_and_another_face_is_not(still: Path, carphone: Path) -> None:
    _, landmarks = other_face(str(still))
    segment = row(landmarks)
    frames = list(read_frames(str(still), 0, 4))
    assert math.isnan(measured(frames[2], segment)), "nothing was drawn"
    box = 100, 100, 140, 140
    frames[1].paste(
        box,
        np.clip(frames[1].rgb(box).astype(int) + 3, 0, 255).astype(np.uint8),
        np.ones((40, 40), np.float32),
    )
    assert math.isnan(measured(frames[1], segment)), "too little has changed to be somebody else"
    left, top = landmarks[48:68].min(0) - 2
    right, bottom = landmarks[48:68].max(0) + 2
    box = int(left), int(top), int(right), int(bottom)
    mouth = np.clip(frames[2].rgb(box).astype(int) + 20, 0, 255).astype(np.uint8)
    frames[2].paste(box, mouth, np.ones(mouth.shape[:2], np.float32))
    assert measured(frames[2], segment) < 0.4, "a brighter mouth"
    paste_face(frames[3], *other_face(str(carphone)), landmarks, whole(landmarks), feather=0.2)
    assert measured(frames[3], segment) > 0.4


def test_one_look_a_shot_and_one_more_every_quarter_of_a_minute() -> None:
    landmarks = np.zeros((68, 2))
    assert _first(row(landmarks, 1000)) == 25
    assert _first(row(landmarks, 1000, shot_stop=20)) == 10, "the middle of a short shot"
    assert _first(row(landmarks, 1000, start=20)) == 25
    assert _first(row(landmarks, 1000, start=26)) == 25 + 375
