"""A contact sheet shows the frames it was given."""

import numpy as np
import pytest

from operators.evaluation.contact_sheet import compare, mouth_box


def test_original_stands_above_result() -> None:
    original = [np.full((60, 80, 3), 10 * i, np.uint8) for i in range(5)]
    result = [p + 100 for p in original]
    sheet = compare(original, result, [(20, 20, 50, 50)] * 5, columns=5, whole=2, height=40)
    assert sheet.dtype == np.uint8
    closeups = sheet[-81:]  # two rows of 40 with one white line between them
    assert (closeups[20, [10, 52, 94, 136, 178], 0] == [0, 10, 20, 30, 40]).all()
    assert (closeups[61, [10, 52, 94, 136, 178], 0] == [100, 110, 120, 130, 140]).all()
    with pytest.raises(ValueError, match="pair up"):
        compare(original, result[:3], [(0, 0, 5, 5)] * 5)


def test_a_mouth_at_the_border_stays_inside() -> None:
    landmarks = np.zeros((68, 2))
    landmarks[48:68] = np.stack([np.linspace(70, 95, 20), np.linspace(50, 58, 20)], 1)
    x1, y1, x2, y2 = mouth_box(landmarks, (90, 60))
    assert 0 <= x1 < x2 <= 90
    assert 0 <= y1 < y2 <= 60
