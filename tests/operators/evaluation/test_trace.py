"""Traces: curves on one grid, stretches that kept their mouth with their reasons, and values by shot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from operators.evaluation.heard import QUIETEST, Heard, decibels
from operators.evaluation.metric import SegmentMetric
from operators.evaluation.seam import Seam
from operators.evaluation.shot_measures import measure_shot
from operators.evaluation.trace import dub_trace, shot_groups
from operators.speech.spectrum import SAMPLE_RATE


def heard(seconds: float) -> Heard:
    count = int(100 * seconds) + 1
    return Heard(seconds, np.full(count, -20.0), np.zeros(count), np.zeros(count))


def traced(
    metrics: list[SegmentMetric], measured: list[dict[str, Any]], speech: Heard, seconds: float
) -> Any:
    shots = [measure_shot(group, speech) for group in shot_groups(measured)]
    return dub_trace(metrics, measured, shots, speech, seconds)


def segment(shot: int, start: float, end: float, states: list[Any], **values: Any) -> dict[str, Any]:
    """An output segment of 25 frames a second whose source opens its mouth evenly and whose dub keeps it at 0.2."""
    at = list(range(round(1000 * start), round(1000 * end), 80))
    counted = [[*state, round(25 * (state[1] - state[0]))] for state in states]
    watch = {
        "at": at,
        "source": [t // 10 for t in at],
        "dub": [200] * len(at),
        "states": counted,
        "face": None,
    }
    return {"shot": [shot, shot + 100], "start": start, "values": values, "watch": watch}


def test_curves_are_on_one_grid_and_have_holes_where_there_was_no_face() -> None:
    one = segment(0, 0.0, 2.0, [[0.0, 2.0, "dubbed"]])
    other = segment(100, 3.0, 4.0, [[3.0, 4.0, "dubbed"]])
    other["watch"]["dub"][0] = None
    trace = traced([], [one, {}, other], heard(1.5), 4.0)
    assert (trace["rate"], trace["start"]) == (12.5, 0)
    lengths = {len(trace["loudness"]), *(len(values) for values in trace["opening"].values())}
    assert lengths == {50}
    source = trace["opening"]["source"]
    assert source[10] == pytest.approx(0.08)
    assert source[20] == pytest.approx(0.16)
    assert source[30] is None, "between the segments nothing was measured"
    assert trace["opening"]["dub"][37] is None
    assert trace["opening"]["dub"][49] == 0.2
    assert trace["loudness"][:2] == [-20.0, -20.0]
    assert trace["loudness"][-1] == QUIETEST


def test_reasons_of_stretches_and_of_shots() -> None:
    first = segment(0, 0.0, 1.0, [[0.0, 0.6, "dubbed"], [0.6, 1.0, "turned"]], seam=[0.5, 5])
    same = segment(0, 1.0, 2.0, [[1.0, 1.2, "turned"], [1.2, 2.0, "dubbed"]], seam=[1.5, 5])
    nobody = segment(100, 2.0, 3.0, [[2.0, 2.9, "no face"], [2.9, 3.0, "covered"]])
    late = segment(200, 3.0, 5.0, [[3.0, 5.0, ""]])
    shots = traced([Seam()], [first, same, nobody, late], heard(4.5), 5.0)["shots"]
    assert [(shot["start"], shot["end"], shot["state"], shot["reason"]) for shot in shots] == [
        (0.0, 2.0, "dubbed", None),
        (2.0, 3.0, "passed", "no face"),
        (3.0, 5.0, "passed", "other"),
    ]
    assert shots[0]["passed"] == [{"start": 0.6, "end": 1.2, "reason": "turned"}]
    assert [one["reason"] for one in shots[2]["passed"]] == ["other", "no speech"]
    assert [shot["metrics"].get("seam") for shot in shots] == [1.0, None, None]
    assert shots[1]["metrics"] == {}


def test_a_shot_of_no_length_is_listed() -> None:
    """Damaged time stamps: frames within a millisecond."""
    at_once = segment(0, 1.0, 1.0, [[1.0, 1.0, "dubbed"]])
    (shot,) = traced([], [at_once], heard(1.5), 1.0)["shots"]
    assert (shot["start"], shot["end"], shot["state"], shot["passed"]) == (1.0, 1.0, "passed", [])


def test_people_are_gathered_over_the_segments_and_shots_name_whose_mouth_was_measured() -> None:
    def people(*found: Any) -> list[Any]:
        return [
            {"speaker": 0, "person": person, "dubbed": dubbed, "mouths": mouths}
            for person, dubbed, mouths in found
        ]

    first, same, other = (
        segment(shot, start, start + 1.0, [[start, start + 1.0, "dubbed"]])
        for shot, start in ((0, 0.0), (0, 1.0), (100, 2.0))
    )
    first["watch"]["people"] = people((2, [[0.5, 1.0]], [[0, 100, 200, 300, 400]]), (1, [], []))
    same["watch"]["people"] = people((2, [[1.0, 1.5], [1.8, 2.0]], []))
    other["watch"]["people"] = people((1, [[2.0, 3.0]], [[2000, 500, 500, 600, 600]]))
    trace = traced([], [first, same, other], heard(3.0), 3.0)
    assert trace["people"] == [
        {"speaker": 0, "person": 1, "dubbed": [[2.0, 3.0]], "mouths": [[2.0, 0.5, 0.5, 0.6, 0.6]]},
        {
            **{"speaker": 0, "person": 2, "dubbed": [[0.5, 1.5], [1.8, 2.0]]},
            "mouths": [[0.0, 0.1, 0.2, 0.3, 0.4]],
        },
    ]
    assert [shot["people"] for shot in trace["shots"]] == [[1], [0]]


def test_loudness_is_that_of_the_samples_around() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    level = decibels(np.concatenate([tone, 0 * tone]), 201)
    assert level[50] == pytest.approx(-3.01, abs=0.1)
    assert level[150] == QUIETEST
