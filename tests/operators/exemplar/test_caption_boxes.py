"""The box that a caption is written in belongs to it: found by its straight edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from operators.exemplar.caption_boxes import with_box
from operators.exemplar.graphics import lines_of_letters
from operators.exemplar.warp import face_unit
from operators.faces.geometry import CHIN
from tests.operators.exemplar.footage import carphone
from tests.operators.exemplar.test_graphics import WORDS, written


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["translucent", "solid"])
def test_a_line_reaches_to_the_edges_of_the_box_that_it_is_written_in(share: float) -> None:
    frames, landmarks, _ = carphone()
    for index in (4, 10, 30):
        chin = landmarks[index][CHIN]
        middle = round(float(chin[1])) + 10
        top, bottom, left, right = middle - 34, middle + 34, 90, 450
        ground = frames[index].astype(np.float32)
        ground[top:bottom, left:right] *= 1 - share
        picture = written(np.round(ground).astype(np.uint8), WORDS[0], (float(chin[0]), middle), 20)
        (line,) = lines_of_letters(picture, landmarks[index], face_unit(landmarks[index]))
        x1, y1, x2, y2 = line.box
        assert top - 12 <= y1 <= top, index
        assert bottom <= y2 <= bottom + 12, index
        assert x1 <= left + 12, index
        assert x2 >= right - 12, index
        assert line.letters.shape == (y2 - y1, x2 - x1)


def test_a_face_has_no_straight_edges() -> None:
    frames, landmarks, _ = carphone()
    for picture, where in zip(frames[::4], landmarks[::4]):
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        x, y = where[CHIN].round().astype(int).tolist()
        for middle in (y - 40, y - 20, y, y + 15):
            line = (x - 90, middle - 12, x + 90, middle + 12)
            assert with_box(line, luma) == line


def test_an_edge_of_the_picture_cuts_the_box() -> None:
    luma = np.full((60, 200), 180, np.uint8)
    luma[10:50, :] = 60
    assert with_box((20, 20, 180, 40), luma) == (0, 7, 200, 53)
    assert with_box((20, 20, 180, 40), luma[:45]) == (0, 7, 200, 40)
