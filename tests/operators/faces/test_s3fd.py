"""S3FD as a detector, with made-up weights: order of colours, scale, threshold and suppression."""

import cv2
import numpy as np
import pytest
import torch

from operators.faces.s3fd import S3fdDetector, decode_s3fd
from tests.retalk_models.adapters import centred
from tests.retalk_models.digest_inputs import picture
from tests.retalk_models.recipe import Subject
from tests.weight_recipe import generator

RGB = np.ascontiguousarray(picture(generator("s3fd detector"), (3, 96, 128)).transpose(1, 2, 0))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return Subject("s3fd").module


@pytest.fixture(scope="module")
def threshold(network: torch.nn.Module) -> float:
    """A score that some twenty boxes reach: made-up weights are sure of nothing."""
    with torch.inference_mode():
        maps = network(centred(RGB[..., ::-1].transpose(2, 0, 1)[None]))
    scores = np.concatenate([one.softmax(1)[0, 1].flatten().numpy() for one in maps[0::2]])
    return float(np.sort(scores)[-20:].min())


def test_boxes_are_those_of_the_networks_maps_for_bgr(network: torch.nn.Module, threshold: float) -> None:
    with torch.inference_mode():
        maps = network(centred(RGB[..., ::-1].transpose(2, 0, 1)[None]))
    expected = decode_s3fd(
        [one.softmax(1)[0].numpy() for one in maps[0::2]],
        [one[0].numpy() for one in maps[1::2]],
        threshold=threshold,
    )
    found = S3fdDetector(network, scale=1, threshold=threshold, overlap=1)(RGB)
    assert len(found)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_boxes_of_a_smaller_picture_are_in_pixels_of_the_whole(
    network: torch.nn.Module, threshold: float
) -> None:
    small = S3fdDetector(network, scale=1, threshold=threshold)(RGB)
    large = S3fdDetector(network, scale=0.5, threshold=threshold)(RGB.repeat(2, 0).repeat(2, 1))
    np.testing.assert_allclose(large[:, :4], 2 * small[:, :4], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(large[:, 4], small[:, 4], rtol=1e-3)


def test_a_higher_threshold_and_a_smaller_overlap_leave_fewer(
    network: torch.nn.Module, threshold: float
) -> None:
    def count(**options: float) -> int:
        return len(S3fdDetector(network, scale=1, **{"threshold": threshold, "overlap": 1.0} | options)(RGB))

    assert count() > count(threshold=1.0) == 0
    assert 1 <= count(overlap=0.0) <= count()


@pytest.mark.parametrize("size", [(100, 140), (20, 300), (128, 128)])
def test_small_pictures_are_not_made_smaller_than_the_network_takes(
    network: torch.nn.Module, size: tuple[int, int]
) -> None:
    """A quarter of 100 pixels would be 25, of which its poolings leave nothing."""
    found = S3fdDetector(network, threshold=0.0)(cv2.resize(RGB, size[::-1]))
    assert np.isfinite(found).all()
    assert found.shape[1] == 5
