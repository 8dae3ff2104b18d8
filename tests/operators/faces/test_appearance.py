"""Patches of the skin around the mouth: the same in another light and with the mouth open; not the same
behind a microphone.
"""

import numpy as np
import pytest

from operators.faces.appearance import COLUMNS, ROWS, References, patch_of
from operators.faces.canonical import transform_of_box, warp
from operators.faces.dlib_backend import DlibBackend
from operators.faces.search import find_anywhere
from operators.faces.seed import Look, look
from operators.numeric.affine import apply
from tests.operators.faces.footage import carphone, cover_mouth, luma

FREE = (0, 18, 36, 54, 72, 90)


def seen(backend: DlibBackend, picture: np.ndarray) -> Look:
    boxes, scores = find_anywhere(backend, picture)
    return look(backend, picture, transform_of_box(boxes[0]), float(scores[0]), guesses=2)


def patch(view: Look) -> np.ndarray:
    return patch_of(view.crop, apply(view.transform, view.landmarks))


@pytest.fixture(scope="module")
def views(backend: DlibBackend) -> dict[int, Look]:
    return {t: seen(backend, luma(carphone()[t])) for t in (*FREE, 27, 63)}


@pytest.fixture(scope="module")
def references(views: dict[int, Look]) -> References:
    return of([views[t] for t in FREE])


def of(views: list[Look]) -> References:
    spreads = np.array([view.spread[48:].mean() for view in views])
    return References(
        np.array([patch(view) for view in views]), spreads, np.array([view.score for view in views])
    )


def test_light_does_not_matter(views: dict[int, Look]) -> None:
    darker = (luma(carphone()[27]) * 0.5 + 20).astype(np.uint8)
    view = views[27]
    np.testing.assert_allclose(
        patch_of(warp(darker, view.transform), apply(view.transform, view.landmarks)), patch(view), atol=0.12
    )
    assert patch(view).shape == (ROWS, COLUMNS)


def test_free_faces_are_not_covered(views: dict[int, Look], references: References) -> None:
    for t in (27, 63):
        assert references.covered(patch(views[t])) < 0.05


def test_a_microphone_covers(backend: DlibBackend, views: dict[int, Look], references: References) -> None:
    for t in (27, 63):
        picture = luma(cover_mouth(carphone()[t], views[t].landmarks, 1.0))
        view = views[t]
        assert (
            references.covered(patch_of(warp(picture, view.transform), apply(view.transform, view.landmarks)))
            > 0.15
        )


def test_covered_samples_do_not_become_references(
    backend: DlibBackend, views: dict[int, Look], references: References
) -> None:
    hidden = [seen(backend, luma(cover_mouth(carphone()[t], views[t].landmarks, 1.0))) for t in FREE[:2]]
    mixed = of([*hidden, *(views[t] for t in FREE[2:])])
    assert mixed.count < len(FREE)
    assert mixed.covered(patch(hidden[0])) > 0.1
    assert references.count >= len(FREE) - 2


def test_no_references() -> None:
    assert References(np.zeros((0, ROWS, COLUMNS), np.float32), np.zeros(0), np.zeros(0)).count == 0
