"""Telling people apart on two real people: a man in 120 frames, a woman in one portrait."""

import cv2
import numpy as np
import pytest

from operators.faces.canonical import transform_of_box
from operators.faces.dlib_backend import DlibBackend
from operators.faces.identity import SAME, Recogniser, distance
from operators.faces.search import find_anywhere
from operators.faces.seed import look
from tests.operators.faces.footage import astronaut, carphone, luma


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def describe(recogniser: Recogniser, backend: DlibBackend, picture: np.ndarray) -> np.ndarray:
    boxes, _ = find_anywhere(backend, picture)
    return recogniser.describe(
        picture, look(backend, picture, transform_of_box(boxes[0]), 0.0, guesses=2).landmarks
    )


def test_same_and_different(recogniser: Recogniser, backend: DlibBackend) -> None:
    man = np.array([describe(recogniser, backend, luma(carphone()[t])) for t in (0, 30, 60, 90)])
    woman = describe(recogniser, backend, luma(astronaut()))
    again = describe(
        recogniser,
        backend,
        cv2.resize(luma(astronaut()), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)[:, ::-1],
    )
    assert woman.shape == (128,)
    assert distance(woman, again[None]) < SAME - 0.1
    for i in range(len(man)):
        assert distance(man[i], np.delete(man, i, 0)) < SAME
        assert distance(woman, man[[i]]) > SAME + 0.1
