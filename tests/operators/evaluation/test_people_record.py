"""The record of people: who was drawn in which frames, and where their mouths are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.evaluation.people_record import UNITS, PeopleRecord
from operators.faces.canonical import TEMPLATE
from operators.faces.geometry import MOUTH
from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.segment import Segment

COUNT = 30
SIZE = np.array([176, 144])


def face(x: float, valid: bool = True) -> dict[str, Any]:
    """Columns of a face of 40 pixels around a place, unless it is not seen."""
    landmarks = (TEMPLATE - TEMPLATE.mean(0)) / np.ptp(TEMPLATE[:, 0]) * 40 + [x, 70]
    return {"landmarks": np.tile(landmarks, (COUNT, 1, 1)).astype(np.float32), "valid": np.full(COUNT, valid)}


def row(*people: dict[str, Any]) -> Segment:
    plain = {
        **{"frame_width": 176, "frame_height": 144, "time_base_num": 1, "time_base_den": 25},
        **{"start": 0, "stop": COUNT, "halo_start": 0, "halo_stop": COUNT, "out_origin": 0},
        **{"source": np.arange(COUNT), "out_pts": np.arange(COUNT)},
    }
    first, *others = ({**plain, "speaker": number, **one} for number, one in enumerate(people))
    return Segment({**first, "others": tuple(others)})


def draw(frame: Frame, one: dict[str, Any]) -> None:
    """Paint over the lower half of a face."""
    x, y = np.round(one["landmarks"][frame.index][MOUTH].mean(0)).astype(int).tolist()
    box = (x - 15, y - 18, x + 15, y + 12)
    frame.paste(box, np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), np.float32))


def test_each_frame_belongs_to_those_whose_mouths_were_drawn(carphone: Path) -> None:
    left, right = face(50), face(120)
    unseen = face(90, valid=False)
    record = PeopleRecord(row(left, right, unseen))
    for frame in read_frames(str(carphone), 0, COUNT):
        for one, frames in ((left, range(20, COUNT)), (right, range(5, 25))):
            if frame.index in frames:
                draw(frame, one)
        record.frame(frame.index, frame)
    found = record.result()
    assert [one["speaker"] for one in found] == [0, 1, 2]
    assert [one["dubbed"] for one in found] == [[[0.8, 1.2]], [[0.2, 1.0]], []]
    assert [[at for at, *_ in one["mouths"]] for one in found] == [[0, 1000], [0, 1000], []]
    _, x1, y1, x2, y2 = found[1]["mouths"][0]
    middle = right["landmarks"][0][MOUTH].mean(0) / SIZE * UNITS
    assert [(x1 + x2) / 2, (y1 + y2) / 2] == pytest.approx(middle, abs=0.02 * UNITS)


def test_one_person_was_drawn_wherever_something_was(carphone: Path) -> None:
    """Engines need not say where a face is."""
    record = PeopleRecord(row({}))
    for frame in read_frames(str(carphone), 0, COUNT):
        if frame.index < 10:
            frame.paste((0, 0, 8, 8), np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))
        record.frame(frame.index, frame)
    assert record.result() == [{"speaker": 0, "person": 0, "mouths": [], "dubbed": [[0.0, 0.4]]}]
