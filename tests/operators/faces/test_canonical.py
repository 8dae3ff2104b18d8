"""The canonical crop: a crop that shows the face where it should be."""

import cv2
import numpy as np
import pytest

from operators.faces import canonical
from operators.faces.canonical import BOX, SIDE, TEMPLATE, box_of_transform, warp
from operators.numeric.affine import apply


def turned(angle: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    transform = cv2.getRotationMatrix2D((0, 0), angle, zoom)
    transform[:, 2] += shift
    return transform


@pytest.mark.parametrize("zoom", [0.13, 0.2, 0.31, 0.45, 0.59, 1.0, 3.0])
def test_warp_puts_pixels_where_the_transform_says(zoom: float) -> None:
    size = round(600 / zoom)
    picture = np.zeros((size, size), np.uint8)
    dots = np.array([[0.3, 0.4], [0.5, 0.55], [0.62, 0.35]]) * size
    for x, y in dots:
        cv2.circle(picture, (round(x), round(y)), max(2, round(8 / zoom)), 255, -1)
    centre = np.array([size / 2, size / 2])
    transform = turned(20, zoom, (0, 0))
    transform[:, 2] = [SIDE / 2, SIDE / 2] - transform[:, :2] @ centre
    crop = warp(picture, transform)
    for dot in dots:
        x, y = apply(transform, np.round(dot))
        patch = crop[round(y) - 14 : round(y) + 15, round(x) - 14 : round(x) + 15].astype(float)
        rows, columns = np.mgrid[-14:15, -14:15]
        centroid = np.array([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum() + [
            round(x),
            round(y),
        ]
        np.testing.assert_allclose(centroid, (x, y), atol=0.6)


def test_warp_reduces_without_aliasing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000)).astype(np.uint8)
    crop = warp(noise, np.array([[0.2, 0, 40.0], [0, 0.2, 40.0]]))
    assert crop[60:400, 60:400].std() < 25  # point sampling would keep the noise's 74


def test_box_of_transform_inverts_transform_of_box() -> None:
    box = np.array([100, 50, 260, 210], np.float32)
    np.testing.assert_allclose(box_of_transform(canonical.transform_of_box(box, roll=30)), box, atol=1e-3)


def test_landmarks_of_any_size_and_tilt_land_on_the_template() -> None:
    points = apply(turned(-35, 0.3, (500, 300)), TEMPLATE)
    np.testing.assert_allclose(apply(canonical.transform_of_landmarks(points), points), TEMPLATE, atol=1e-6)
    assert 0.8 * BOX < np.ptp(TEMPLATE[:, 0]) < 1.1 * BOX
