"""The compact regression trees against dlib's own evaluation of the same file."""

from pathlib import Path

import dlib
import numpy as np
import pytest

from operators.faces.dlib_backend import DlibBackend, bundled_model
from operators.faces.search import find_anywhere
from operators.faces.shape_predictor import Trees, load_trees
from tests.operators.faces.footage import astronaut, carphone, luma

FILE = "shape_predictor_68_face_landmarks.dat"


@pytest.fixture(scope="module")
def trees() -> Trees:
    return load_trees(bundled_model(FILE))


def test_the_same_points_as_dlib(trees: Trees, backend: DlibBackend) -> None:
    predictor = dlib.shape_predictor(str(bundled_model(FILE)))
    differences = []
    for picture in (luma(astronaut()), *(luma(carphone()[t]) for t in range(0, 90, 15))):
        box = np.round(find_anywhere(backend, picture)[0][0])
        box[3] = box[1] + box[2] - box[0]
        for shift in (-6, 0, 6):
            x1, y1, x2, y2 = (int(v) for v in box + shift)
            points = predictor(picture, dlib.rectangle(x1, y1, x2 - 1, y2 - 1)).parts()
            wanted = np.array([(p.x, p.y) for p in points])
            found = trees(picture, np.array([[x1, y1, x2, y2]], np.float64))
            assert found.shape == (1, 68, 2)
            differences.append((found[0] - wanted) / (x2 - x1))
    differences = np.array(differences)
    # Where a tree decides otherwise on a last bit, points move a little; dlib itself moves them as much when
    # the box moves by a pixel.
    assert np.sqrt((differences**2).mean()) < 0.005
    assert abs(differences.mean()) < 0.0005
    assert (np.abs(differences) < 0.6 / 80).mean() > 0.85


def test_boxes_are_independent_and_fractions_count(trees: Trees) -> None:
    picture = luma(astronaut())
    boxes = np.array([[179, 83, 267, 171], [181.5, 80.25, 269.5, 168.25]], np.float64)
    together = trees(picture, boxes)
    for box, points in zip(boxes, together, strict=True):
        np.testing.assert_array_equal(trees(picture, box[None])[0], points)
    assert np.abs(together[0] - np.rint(together[0])).max() > 0.2
    shifted = trees(np.roll(picture, (4, 7), (0, 1)), boxes[:1] + np.array([7, 4, 7, 4]))
    np.testing.assert_allclose(shifted, together[:1] + np.array([7, 4]), atol=1e-3)


def test_boxes_may_leave_the_picture(trees: Trees) -> None:
    assert np.isfinite(
        trees(luma(astronaut())[:120, :230], np.array([[150.0, 60, 260, 170], [-900, -900, -700, -700]]))
    ).all()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.dat").write_text(
        "this is no model at all, but it is long enough to read some numbers from it " * 10
    )
    with pytest.raises(ValueError, match=r"text\.dat is no shape predictor"):
        load_trees(tmp_path / "text.dat")
    data = bundled_model(FILE).read_bytes()
    (tmp_path / "shorter.dat").write_bytes(data[: len(data) // 3])
    with pytest.raises(ValueError, match=r"shorter\.dat is no shape predictor of dlib"):
        load_trees(tmp_path / "shorter.dat")
    (tmp_path / "longer.dat").write_bytes(data + b"\x01\x07")
    with pytest.raises(ValueError, match=r"99693939 bytes where 99693937 were expected"):
        load_trees(tmp_path / "longer.dat")
