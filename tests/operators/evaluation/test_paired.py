"""PSNR and SSIM against scikit-image's values, and as metrics of real frames."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.evaluation.paired import EQUAL, Psnr, Ssim, psnr, ssim
from operators.media.reader import read_frames
from operators.segment import Segment
from tests.retalk_models.digest_inputs import picture
from tests.weight_recipe import generator

TRUTH = np.ascontiguousarray(picture(generator("paired"), (3, 96, 128)).transpose(1, 2, 0))
NOISY = np.clip(TRUTH + generator("noise").integers(-20, 21, TRUTH.shape), 0, 255).astype(np.uint8)


def test_values_of_scikit_image() -> None:
    """Version 0.26: `peak_signal_noise_ratio`; `structural_similarity` with Gaussian windows, sigma 1.5 and the
    covariance of the population.
    """
    assert psnr(NOISY, TRUTH) == pytest.approx(26.65221364863575, abs=1e-4)
    assert ssim(NOISY, TRUTH) == pytest.approx(0.611739607085104, abs=1e-6)
    assert ssim(NOISY[..., 0], TRUTH[..., 0]) == pytest.approx(0.6296204864680187, abs=1e-6)


def test_a_known_error_in_decibels() -> None:
    flat = np.full((20, 20), 100, np.uint8)
    assert psnr(flat + 5, flat) == pytest.approx(10 * math.log10(255**2 / 25))


def test_equal_pictures_are_best() -> None:
    assert psnr(TRUTH, TRUTH) == EQUAL
    assert ssim(TRUTH, TRUTH) == pytest.approx(1)
    assert ssim(255 - TRUTH, TRUTH) < 0


def test_pictures_that_do_not_pair_up_are_refused() -> None:
    for measure in (psnr, ssim):
        with pytest.raises(ValueError, match="do not pair up"):
            measure(TRUTH[:50], TRUTH)
        with pytest.raises(ValueError, match="do not pair up"):
            measure(TRUTH.astype(float), TRUTH)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(TRUTH[:10], TRUTH[:10])


@pytest.mark.parametrize("metric", [Psnr(), Ssim()])
def test_metrics_compare_finished_frames_with_the_source(carphone: Path, metric: Psnr | Ssim) -> None:
    values = []
    for sigma in (0.0, 1.0, 3.0):
        frame = next(iter(read_frames(str(carphone), 10, 11)))
        assert math.isnan(metric.sample(Segment({}), 0, frame))
        box = (40, 30, 120, 110)
        rgb = frame.rgb(box)
        rgb = cv2.GaussianBlur(rgb, (0, 0), sigma) if sigma else rgb
        frame.paste(box, rgb, np.ones((80, 80), np.float32))
        values.append(metric.sample(Segment({}), 0, frame))
    assert values[0] > values[1] > values[2] > 0
