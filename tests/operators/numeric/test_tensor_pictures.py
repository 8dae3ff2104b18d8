"""Picture functions on tensors against OpenCV's: within one grey level."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from operators.numeric import affine, pyramid, tensor_pictures
from operators.retalk import framing
from retalk_models.inference.probes import picture

RNG = np.random.default_rng(7)


def pictures(count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """uint8[count, height, width, channels]: smooth, with an edge."""
    made = picture(count, channels, height, width, high=255).permute(0, 2, 3, 1).numpy()
    made[:, height // 3 : height // 2, width // 4 : width // 2] = (
        255 - made[:, height // 3 : height // 2, width // 4 : width // 2]
    )
    return np.ascontiguousarray(made.round().astype(np.uint8))


def tensor(made: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(made).permute(0, 3, 1, 2).float()


def array(made: torch.Tensor) -> np.ndarray:
    return made.permute(0, 2, 3, 1).numpy()


def maps(count: int) -> np.ndarray:
    """float64[count, 2, 3]: similarities that turn, scale and shift a little."""
    made = []
    for _ in range(count):
        angle, scale = RNG.normal(0, 0.2), RNG.uniform(0.6, 1.6)
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        made.append(np.hstack([turn, RNG.uniform(-12, 12, (2, 1))]))
    return np.stack(made)


def test_maps_are_those_of_the_numpy_functions() -> None:
    a, b = maps(3), maps(3)
    points = RNG.normal(0, 50, (3, 5, 2))
    inverse = tensor_pictures.invert(torch.from_numpy(a)).numpy()
    both = tensor_pictures.compose(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    seen = tensor_pictures.apply(torch.from_numpy(a), torch.from_numpy(points)).numpy()
    boxes = np.array([[3.0, 5, 103, 135], [0, 0, 64, 64], [-5, 2, 40, 90]])
    into = tensor_pictures.into_box(torch.from_numpy(boxes), 96).numpy()
    for k in range(3):
        np.testing.assert_allclose(inverse[k], affine.invert(a[k]), atol=1e-9)
        np.testing.assert_allclose(both[k], affine.compose(a[k], b[k]), atol=1e-9)
        np.testing.assert_allclose(seen[k], affine.apply(a[k], points[k]), atol=1e-9)
        np.testing.assert_allclose(into[k], framing.into_box(boxes[k], 96), atol=1e-9)


@pytest.mark.parametrize("border", ["value", "edge"])
def test_warps_are_opencvs(border: str) -> None:
    source, matrices, size = pictures(4, 90, 120), maps(4), (100, 110)
    grey = (132.0, 133.0, 135.0)
    ours = tensor_pictures.warp(
        tensor(source),
        torch.from_numpy(matrices),
        size,
        torch.tensor(grey) if border == "value" else None,
    )
    mode = cv2.BORDER_CONSTANT if border == "value" else cv2.BORDER_REPLICATE
    for k in range(4):
        theirs = cv2.warpAffine(
            source[k], matrices[k], size[::-1], flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=grey
        )
        gap = np.abs(array(ours.round())[k] - theirs)
        assert gap.max() <= 1
        assert gap.mean() < 0.1


def test_a_warp_leaves_alone_what_it_does_not_cover() -> None:
    source, matrices = pictures(2, 60, 60), maps(2)
    below = pictures(2, 80, 80)
    ours = array(
        tensor_pictures.warp(tensor(source), torch.from_numpy(matrices), (80, 80), onto=tensor(below)).round()
    )
    for k in range(2):
        theirs = cv2.warpAffine(
            source[k], matrices[k], (80, 80), dst=below[k].copy(), borderMode=cv2.BORDER_TRANSPARENT
        )
        gap = np.abs(ours[k] - theirs).max(2)
        # The two may disagree whether the line of samples at the picture's edge belongs to it.
        assert (gap > 1).mean() < 0.03
        covered = cv2.warpAffine(np.ones((60, 60), np.uint8), matrices[k], (80, 80), flags=cv2.INTER_NEAREST)
        inner = cv2.erode(covered, np.ones((5, 5), np.uint8)) > 0
        outer = cv2.dilate(covered, np.ones((5, 5), np.uint8)) == 0
        assert gap[inner].max() <= 1
        assert (ours[k][outer] == below[k][outer]).all()


@pytest.mark.parametrize("size", [(40, 40), (96, 96), (64, 60)])
def test_changes_of_size_are_opencvs(size: tuple[int, int]) -> None:
    """Boxes that shrink, that grow, and that shrink along one axis and grow along the other."""
    source = pictures(4, 120, 100)
    boxes = np.array([[10, 20, 80, 100], [0, 0, 100, 120], [33, 40, 62, 71], [5, 10, 61, 90]], np.float64)
    ours = array(tensor_pictures.resize(tensor(source), torch.from_numpy(boxes), size))
    for k, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        theirs = framing.scaled(source[k, y1:y2, x1:x2], size[1], size[0])
        gap = np.abs(ours[k] - theirs)
        assert gap.max() <= 1, (k, size)


def test_a_picture_fills_its_box_of_a_larger_one_and_nothing_else() -> None:
    source = pictures(3, 64, 64)
    into = np.array([[0, 0, 50, 70], [8, 4, 90, 80], [30, 30, 94, 94]], np.float64)
    boxes = np.tile(np.array([0, 0, 64, 64], np.float64), (3, 1))
    ours = array(
        tensor_pictures.resize(tensor(source), torch.from_numpy(boxes), (96, 96), torch.from_numpy(into))
    )
    for k, (x1, y1, x2, y2) in enumerate(into.astype(int)):
        theirs = np.zeros((96, 96, 3), np.uint8)
        theirs[y1:y2, x1:x2] = framing.scaled(source[k], x2 - x1, y2 - y1)
        assert np.abs(ours[k] - theirs).max() <= 1


def test_parts_of_pictures_repeat_the_edge() -> None:
    source = pictures(2, 20, 30)
    ours = array(tensor_pictures.moved(tensor(source), torch.tensor([[-3, 5], [10, 20]]), (16, 12)))
    padded = np.pad(source, ((0, 0), (16, 16), (16, 16), (0, 0)), mode="edge")
    assert (ours[0] == padded[0, 13:29, 21:33]).all()
    assert (ours[1] == padded[1, 26:42, 36:48]).all()


def test_blurs_are_opencvs() -> None:
    source = picture(2, 1, 50, 40).numpy()
    ours = tensor_pictures.gaussian_blur(torch.from_numpy(source), 12, 4.0).numpy()
    for k in range(2):
        np.testing.assert_allclose(ours[k, 0], cv2.GaussianBlur(source[k, 0], (25, 25), 4.0), atol=1e-5)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_blending_by_bands_is_the_stages(levels: int) -> None:
    a, b = pictures(2, 48, 64), pictures(2, 48, 64)[::-1].copy()
    mask = np.zeros((2, 48, 64), np.float32)
    mask[:, 10:30, 20:50] = 1
    mask = np.stack([cv2.GaussianBlur(m, (9, 9), 2) for m in mask])
    ours = array(tensor_pictures.blend(tensor(a), tensor(b), torch.from_numpy(mask)[:, None], levels))
    for k in range(2):
        np.testing.assert_allclose(ours[k], pyramid.blend(a[k], b[k], mask[k], levels), atol=1e-2)


def test_polygons_are_opencvs_to_a_sample_of_the_outline() -> None:
    """OpenCV moves an edge's ends to whole samples before it draws it: samples of the outline differ, no others."""
    angle = np.linspace(0, 2 * np.pi, 27, endpoint=False)
    radius = 40 + RNG.normal(0, 4, (3, 27))
    points = 64 + np.stack([np.cos(angle) * radius, np.sin(angle) * radius * 0.8], -1)
    points[2] += 45  # leaves the picture
    ours = tensor_pictures.polygons(torch.from_numpy(points), (128, 128)).numpy()[:, 0].astype(np.uint8)
    for k in range(3):
        theirs = np.zeros((128, 128), np.uint8)
        cv2.fillPoly(theirs, [np.rint(points[k] * 16).astype(np.int32)], 1, shift=4)
        square = np.ones((3, 3), np.uint8)
        assert (ours[k] <= cv2.dilate(theirs, square)).all()
        assert (theirs <= cv2.dilate(ours[k], square)).all()
        assert abs(int(ours[k].sum()) - int(theirs.sum())) < 0.01 * theirs.sum()


@pytest.mark.parametrize("radius", [7, 20])
def test_dilation_is_opencvs(radius: int) -> None:
    mask = np.zeros((2, 90, 90), np.uint8)
    mask[0, 40:50, 30:60], mask[1, 5, 80] = 1, 1
    ours = tensor_pictures.dilated(torch.from_numpy(mask)[:, None] > 0, radius).numpy()
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    for k in range(2):
        assert (ours[k, 0] == (cv2.dilate(mask[k], element) > 0)).all()


def test_distances_are_opencvs_up_to_the_limit() -> None:
    mask = np.zeros((60, 60), np.uint8)
    cv2.circle(mask, (30, 28), 22, 1, -1)
    mask[27:30, 40:44] = 0
    ours = tensor_pictures.distance(torch.from_numpy(mask)[None, None] > 0, 8.0).numpy()[0, 0]
    theirs = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    np.testing.assert_allclose(np.minimum(ours, 8), np.minimum(theirs, 8), atol=1e-3)
