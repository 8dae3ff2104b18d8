"""Metrics: samples of frames become values of output segments, shots and titles; what fails costs a value and
no title.
"""

import math

import numpy as np
import pytest

from operators.evaluation.metric import Meter, SegmentMetric, summarize
from operators.segment import Segment


def segment(shot: tuple[int, int] = (0, 40), frames: int = 4, start: int = 0) -> Segment:
    return Segment(
        {
            "shot_start": shot[0],
            "shot_stop": shot[1],
            "source": np.arange(frames),
            "out_pts": np.arange(start, start + frames) * 100,
            "out_origin": 0,
            "time_base_num": 1,
            "time_base_den": 1000,
        }
    )


class Even(SegmentMetric):
    """Values of even frames: the number of the frame."""

    name = "even"
    per = "shot"
    better = "lower"
    every = 2

    def sample(self, segment: Segment, index: int, frame: object) -> float:
        assert index % 2 == 0
        return math.nan if index == 0 else float(index)


class Length(SegmentMetric):
    name = "length"
    unit = "frames"

    def measure(self, segment: Segment, samples: np.ndarray) -> float:
        return float(len(segment.source))


class Broken(SegmentMetric):
    name = "broken"
    better = "higher"

    def sample(self, segment: Segment, index: int, frame: object) -> float:
        raise KeyError("landmarks")


def measured(metrics: list[SegmentMetric], row: Segment) -> tuple[dict, list[str]]:
    meter = Meter(metrics, row)
    for index in range(len(row.source)):
        meter.frame(index, object())  # type: ignore[arg-type]
    return meter.result(), meter.notes


def test_samples_become_a_value_with_its_weight() -> None:
    result, notes = measured([Even(), Length()], segment(frames=6, start=2))
    # Frames 2 and 4 count: frame 0 has no value, odd ones are not sampled.
    assert result == {"shot": [0, 40], "start": 0.2, "values": {"even": [3.0, 2], "length": [6.0, 6]}}
    assert notes == []


def test_without_a_sample_there_is_no_value() -> None:
    result, _ = measured([Even()], segment(frames=2))
    assert result["values"] == {}


def test_a_metric_that_raises_is_given_up_with_one_note() -> None:
    result, notes = measured([Broken(), Length()], segment())
    assert list(result["values"]) == ["length"]
    assert notes == ["metric broken: KeyError: 'landmarks'"]


def test_values_of_a_shot_are_combined_and_the_worst_shot_is_named() -> None:
    said = [
        {"shot": [0, 10], "start": 0.0, "values": {"even": [1.0, 1], "length": [5.0, 5]}},
        {"shot": [0, 10], "start": 0.5, "values": {"even": [4.0, 2], "length": [9.0, 9]}},
        {},  # made before the metric was there
        {"shot": [10, 20], "start": 1.5, "values": {"even": [2.0, 1]}},
    ]
    even, length = summarize([Even(), Length()], said)
    assert even["value"] == pytest.approx((1 + 8 + 2) / 4)
    assert (even["worst"], even["worst_at"]) == (pytest.approx(3.0), 0.0)  # the first shot: (1 + 8) / 3
    assert length["value"] == pytest.approx((25 + 81) / 14)
    assert (length["worst"], length["unit"], length["per"]) == (None, "frames", "segment")


def test_worst_of_segments_is_one_segment() -> None:
    class Better(Length):
        better = "higher"

    said = [
        {"shot": [0, 10], "start": 0.0, "values": {"length": [5.0, 5]}},
        {"shot": [0, 10], "start": 0.5, "values": {"length": [2.0, 2]}},
    ]
    (found,) = summarize([Better()], said)
    assert (found["worst"], found["worst_at"]) == (2.0, 0.5)


def test_a_metric_without_values_is_left_out() -> None:
    assert summarize([Even()], [{}, {"shot": [0, 1], "start": 0.0, "values": {}}]) == []
