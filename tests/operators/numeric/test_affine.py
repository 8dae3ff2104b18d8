"""Affine maps: they invert and compose, and the similarity is found exactly and robustly."""

import cv2
import numpy as np
import pytest

from operators.numeric.affine import apply, compose, invert, robust_similarity, scale_of, similarity

POINTS = np.random.default_rng(2).normal(size=(60, 2)) * 90 + (180, 160)


def turned(angle: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    transform = cv2.getRotationMatrix2D((0, 0), angle, zoom)
    transform[:, 2] += shift
    return transform


def test_maps_invert_and_compose() -> None:
    a, b = turned(10, 0.5, (3, 4)), turned(-70, 2.0, (-9, 1))
    np.testing.assert_allclose(apply(invert(a), apply(a, POINTS)), POINTS, atol=1e-9)
    np.testing.assert_allclose(apply(compose(b, a), POINTS), apply(b, apply(a, POINTS)), atol=1e-9)


def test_similarity_is_found_exactly_and_robustly() -> None:
    wanted = turned(25, 1.7, (40, -12))
    target = apply(wanted, POINTS)
    np.testing.assert_allclose(similarity(POINTS, target), wanted, atol=1e-9)
    assert abs(scale_of(wanted) - 1.7) < 1e-9
    target[:20] += (60, -35)  # a third of the points are elsewhere
    assert np.abs(similarity(POINTS, target) - wanted)[:, 2].max() > 5
    np.testing.assert_allclose(apply(robust_similarity(POINTS, target), POINTS[20:]), target[20:], atol=2.5)


def test_similarity_never_mirrors() -> None:
    """Where a reflection would fit best, the best rotation is found."""
    mirrored = POINTS * (-1, 1)
    found = similarity(POINTS, mirrored)
    assert np.linalg.det(found[:, :2]) >= 0
    missed = np.abs(apply(found, POINTS) - mirrored).sum()
    others = (apply(compose(turned(angle, 1.0, (0, 0)), found), POINTS) for angle in (-5, 5))
    centred = (points - points.mean(0) + mirrored.mean(0) for points in others)
    assert all(
        ((points - mirrored) ** 2).sum() > ((apply(found, POINTS) - mirrored) ** 2).sum()
        for points in centred
    )
    assert missed > 0


def test_points_in_one_place_are_shifted_only() -> None:
    found = similarity(np.full((5, 2), 3.0), np.full((5, 2), 10.0))
    np.testing.assert_allclose(found, [[1, 0, 7], [0, 1, 7]])


def test_the_compiled_rounds_are_weighted_similarities() -> None:
    rng = np.random.default_rng(5)
    source = POINTS.astype(np.float32)
    target = apply(turned(-8, 0.9, (3, 7)), POINTS) + rng.standard_cauchy(POINTS.shape)
    wanted = similarity(source, target)
    for _ in range(5):
        residual = np.linalg.norm(apply(wanted, source) - target, axis=1)
        wanted = similarity(source, target, 1 / (1 + (residual / (1.5 * np.median(residual))) ** 2))
    np.testing.assert_allclose(robust_similarity(source, target), wanted, rtol=0, atol=1e-9)
    assert np.abs(similarity(source, target) - wanted).max() > 1e-3
    for other in (POINTS[:-1], POINTS[:, :1], np.pad(POINTS, ((0, 0), (0, 1)))):
        with pytest.raises(ValueError, match="need the same"):
            robust_similarity(POINTS, other)
    together = np.full((9, 2), 4.0)
    np.testing.assert_allclose(robust_similarity(together, together + 2), [[1, 0, 2], [0, 1, 2]])
