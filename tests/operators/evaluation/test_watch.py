"""The watch: openings measured on drawn pixels, and which frames kept their mouth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from operators.evaluation.coverage import Dubbed
from operators.evaluation.mouth_probe import found_in_box
from operators.evaluation.watch import Watch, pack_times, unpack_times
from operators.faces.backend import make_backend
from operators.faces.geometry import MOUTH, bounding_box
from operators.faces.validity import FAULTS
from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.segment import Segment

COUNT = 12


@pytest.fixture(scope="module")
def box(carphone: Path) -> np.ndarray:
    """The face of the carphone sequence, which dlib finds in a picture four times as large."""
    (frame,) = read_frames(str(carphone), 0, 1)
    large = cv2.resize(frame.luma(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    boxes, _ = make_backend("dlib", "cpu").detect(large)
    return boxes[0] / 4


def row(**columns: Any) -> Segment:
    plain = {
        **{"frame_width": 176, "frame_height": 144, "time_base_num": 1, "time_base_den": 25},
        **{"start": 0, "stop": COUNT, "halo_start": 0, "halo_stop": COUNT, "out_origin": 0},
    }
    return Segment({**plain, "source": np.arange(COUNT), "out_pts": np.arange(COUNT), **columns})


def darken_mouth(frame: Frame, landmarks: np.ndarray) -> None:
    """Paint an open mouth: a dark ellipse where the lips are."""
    x1, y1, x2, y2 = bounding_box(landmarks[MOUTH])
    region = (int(x1) - 4, int(y1) - 4, int(x2) + 5, int(y2) + 14)
    rgb = frame.rgb(region)
    centre = int((x1 + x2) / 2) - region[0], int((y1 + y2) / 2) - region[1] + 4
    cv2.ellipse(rgb, centre, (int((x2 - x1) / 3), 9), 0, 0, 360, (20, 5, 5), -1)
    frame.paste(region, rgb, np.ones(rgb.shape[:2], np.float32))


def test_the_opening_is_that_of_the_drawn_pixels(carphone: Path, box: np.ndarray) -> None:
    frames = list(read_frames(str(carphone), 0, COUNT))
    landmarks = np.stack([found_in_box(frame, box) for frame in frames]).astype(np.float32)
    columns = {"landmarks": landmarks, "valid": np.ones(COUNT, bool), "fault": np.zeros(COUNT, np.uint8)}
    watch = Watch(row(**columns))
    for index, frame in enumerate(frames):
        if index >= 6:
            darken_mouth(frame, landmarks[index])
        watch.frame(index, frame)
    result = watch.result()
    assert result["at"] == [0, 120, 240, 360]
    assert result["source"][:2] == result["dub"][:2], "what was not drawn is as it was"
    assert result["dub"][2] > result["source"][2] + 50
    assert result["dub"][3] != result["source"][3]
    assert result["states"] == [[0.0, 0.24, "", 6], [0.24, 0.48, "dubbed", 6]]
    assert result["face"][0] == pytest.approx(
        np.linalg.norm(landmarks[0, 36] - landmarks[0, 45]) * 0.68, rel=0.2
    )


def test_frames_in_which_nobody_speaks_are_told_from_those_outside_the_ranges(carphone: Path) -> None:
    """``--face speaking``: they count as not dubbed, so that a title in which nobody was dubbed asks for a look."""
    asked = np.arange(COUNT) >= 4
    segment = row(
        **{"landmarks": np.zeros([COUNT, 68, 2], np.float32), "valid": np.zeros(COUNT, bool)},
        **{"fault": (np.arange(COUNT) >= 10).astype(np.uint8), "gate": np.zeros(COUNT, np.float32)},
        asked=asked,
    )
    watch, coverage = Watch(segment), Dubbed()
    shares = []
    for index, frame in enumerate(read_frames(str(carphone), 0, COUNT)):
        watch.frame(index, frame)
        shares.append(coverage.sample(segment, index, frame))
    assert watch.result()["states"] == [
        [0.0, 0.16, "outside the ranges", 4],
        [0.16, 0.4, "nobody speaks for certain", 6],
        [0.4, 0.48, FAULTS[1], 2],
    ]
    assert np.isnan(shares[:4]).all()
    assert shares[4:] == [0.0] * 8


def test_a_box_will_do_for_engines_without_landmarks(carphone: Path, box: np.ndarray) -> None:
    boxes = np.tile(np.round(box).astype(np.int64), (COUNT, 1))
    found = np.arange(COUNT) < 8
    watch = Watch(row(face_boxes=boxes, found=found))
    for index, frame in enumerate(read_frames(str(carphone), 0, COUNT)):
        watch.frame(index, frame)
    result = watch.result()
    assert [value is not None for value in result["source"]] == [True] * 3 + [False]
    assert result["states"] == [[0.0, 0.32, "", 8], [0.32, 0.48, "no face", 4]]


def test_without_any_place_of_the_face_the_drawn_frames_are_known(carphone: Path) -> None:
    watch = Watch(row())
    for index, frame in enumerate(read_frames(str(carphone), 0, COUNT)):
        if index < 3:
            frame.paste((0, 0, 8, 8), np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))
        watch.frame(index, frame)
    result = watch.result()
    assert result["states"] == [[0.0, 0.12, "dubbed", 3], [0.12, 0.48, "", 9]]
    assert set(result["dub"]) == {None}
    assert result["face"] is None


def test_a_reason_that_the_last_stage_gives_is_told_from_no_reason(carphone: Path) -> None:
    segment = row(landmarks=np.zeros((COUNT, 68, 2), np.float32), valid=np.zeros(COUNT, bool))
    watch = Watch(segment)
    for index, frame in enumerate(read_frames(str(carphone), 0, COUNT)):
        if index < 4:
            segment.leave(index, "letters")
        if index == 3:  # somebody else is drawn there
            frame.paste((0, 0, 8, 8), np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))
        watch.frame(index, frame)
    assert watch.result()["states"] == [
        [0.0, 0.12, "letters", 3],
        [0.12, 0.16, "dubbed", 1],
        [0.16, 0.48, "", 8],
    ]


def test_reasons_come_from_the_column_fault() -> None:
    fault = np.zeros(COUNT, np.uint8)
    fault[5:] = FAULTS.index("covered")
    valid = fault == 0
    watch = Watch(row(landmarks=np.zeros((COUNT, 68, 2), np.float32), valid=valid, fault=fault))
    assert [state for *_, state, _ in watch.result()["states"]] == ["", "covered"]


@pytest.mark.parametrize(
    ("source", "pts"),
    [
        ([7], [100]),
        (range(5, 25), range(0, 2000, 100)),
        ([*range(5, 9), *range(7, 4, -1)], [0, 40, 80, 121, 160, 200, 280]),
        ([3] * 4, [0, 1, 3, 4]),
    ],
)
def test_frames_and_times_survive_packing(source: Any, pts: Any) -> None:
    packed = pack_times(np.array(source), np.array(pts))
    found = unpack_times(json.loads(json.dumps(packed)))
    assert [values.tolist() for values in found] == [list(source), list(pts)]
