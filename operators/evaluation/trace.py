"""The trace of a dub: loudness, openings of the mouth before and after, and its shots, for people who look at curves.

Made of what `operators.evaluation.watch` has recorded of the output segments. docs/review.md describes the format.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operators.evaluation.heard import Heard, grid
from operators.evaluation.metric import SegmentMetric, summarize
from operators.evaluation.people_record import UNITS as SIDES
from operators.evaluation.shot_measures import EDGE, NO_SPEECH, OTHER, ShotMeasures
from operators.evaluation.watch import DUBBED, UNITS

#: Values of the curves a second.
RATE = 12.5
#: Digits after the point.
DIGITS = 3
#: Seconds between two measured mouths that are joined at most.
GAP = 0.25
#: Seconds between two stretches in which somebody is dubbed that are one.
JOINED = 0.02

Measured = Sequence[Mapping[str, Any]]


def dub_trace(
    metrics: Sequence[SegmentMetric],
    measured: Measured,
    shots: Sequence[ShotMeasures],
    heard: Heard,
    seconds: float,
) -> dict[str, Any]:
    """Return a dub's trace.

    Args:
        metrics: whose values stand beside each shot.
        measured: of each output segment in order, the result of `Meter.result` ({}: nothing).
        shots: measures of the `shot_groups`.
        heard: its speech.
        seconds: length of the output.
    """
    times = grid(seconds, RATE)
    at, opening = openings(measured)
    loudness = heard.at("loudness", times)
    people = people_of(measured)
    numbers = {(one["speaker"], one["person"]): number for number, one in enumerate(people)}
    return {
        "rate": RATE,
        "start": 0,
        "loudness": [round(float(value), 1) for value in loudness],
        "opening": {kind: _resampled(at, values, times) for kind, values in opening.items()},
        "shots": [
            _shot(metrics, group, heard, shot, numbers)
            for group, shot in zip(shot_groups(measured), shots, strict=True)
        ],
        "people": people,
    }


def people_of(measured: Measured) -> list[dict[str, Any]]:
    """Return those who are seen in the output segments: ``speaker``, ``person``, ``dubbed`` and ``mouths`` of
    `operators.evaluation.people_record`, over the whole output, times in seconds and places as shares of the picture.
    """
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for one in (person for each in measured if "watch" in each for person in each["watch"].get("people", ())):
        if not one["mouths"] and not one["dubbed"]:
            continue
        name = {"speaker": one["speaker"], "person": one["person"]}
        all_of = found.setdefault(tuple(name.values()), {**name, "dubbed": [], "mouths": []})
        all_of["mouths"] += [[at / 1000, *(side / SIDES for side in box)] for at, *box in one["mouths"]]
        for start, end in one["dubbed"]:
            spans = all_of["dubbed"]
            if spans and start - spans[-1][1] < JOINED:
                spans[-1][1] = end
            else:
                spans.append([start, end])
    return [found[key] for key in sorted(found)]


def openings(measured: Measured) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return when mouths were measured, float64[K] seconds, and the openings of the source's and of the dub's, float64[K] in
    eye distances each, NaN where there was no face.
    """
    watched = [one["watch"] for one in measured if "watch" in one]
    at = np.array([value for one in watched for value in one["at"]], np.float64) / 1000
    found = {
        kind: np.array([value for one in watched for value in one[kind]], np.float64) / UNITS
        for kind in ("source", "dub")
    }
    return at, found


def shot_groups(measured: Measured) -> list[list[Mapping[str, Any]]]:
    """Return the output segments that were watched, those of one shot that follow each other together."""
    watched = [one for one in measured if "watch" in one]
    return [list(group) for _, group in itertools.groupby(watched, key=lambda one: tuple(one["shot"]))]


def stretches(group: Measured, heard: Heard) -> list[tuple[float, float, str]]:
    """Return the stretches of some output segments: start and end in seconds, and `DUBBED` or why the frames there kept their
    own mouth.
    """
    found: list[tuple[float, float, str]] = []
    for start, end, state, _ in (stretch for one in group for stretch in one["watch"]["states"]):
        parts = [(start, end, state)]
        if not state:
            over = min(max(heard.seconds - EDGE, start), end)
            parts = [(start, over, OTHER), (over, end, NO_SPEECH)]
        for begin, stop, name in parts:
            if stop <= begin:
                continue
            if found and found[-1][2] == name and begin - found[-1][1] < GAP:
                found[-1] = (found[-1][0], stop, name)
            else:
                found.append((begin, stop, name))
    return found


def _shot(
    metrics: Sequence[SegmentMetric],
    group: Measured,
    heard: Heard,
    shot: ShotMeasures,
    numbers: Mapping[tuple[int, int], int],
) -> dict[str, Any]:
    parts = stretches(group, heard)
    kept: dict[str, float] = defaultdict(float)
    for start, end, name in parts:
        kept[name] += end - start
    dubbed = kept.pop(DUBBED, 0.0) > 0
    values = {row["name"]: round(row["value"], DIGITS) for row in summarize(metrics, group)}
    # Frames of a millisecond together leave no part.
    begin = parts[0][0] if parts else group[0]["watch"]["states"][0][0]
    stop = parts[-1][1] if parts else group[-1]["watch"]["states"][-1][1]
    return {
        "start": round(begin, DIGITS),
        "end": round(stop, DIGITS),
        "state": "dubbed" if dubbed else "passed",
        "reason": None if dubbed or not kept else max(kept, key=lambda name: kept[name]),
        "passed": [
            {"start": round(start, DIGITS), "end": round(end, DIGITS), "reason": name}
            for start, end, name in parts
            if name != DUBBED
        ],
        "metrics": {**values, **{name: round(value, DIGITS) for name, value in shot.values.items()}},
        "people": _watched(group, numbers),
    }


def _watched(group: Measured, numbers: Mapping[tuple[int, int], int]) -> list[int]:
    """Numbers of the people whose mouths were measured in a shot: of each output segment the first."""
    first = [one["watch"]["people"][0] for one in group if one["watch"].get("people")]
    keys = dict.fromkeys((one["speaker"], one["person"]) for one in first)
    return [numbers[key] for key in keys if key in numbers]


def _resampled(at: np.ndarray, values: np.ndarray, times: np.ndarray) -> list[float | None]:
    """Values at times, joined by lines; None where no face was measured nearby."""
    known = np.isfinite(values)
    if not known.any():
        return [None] * len(times)
    at, values = at[known], values[known]
    after = np.clip(np.searchsorted(at, times), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    near = np.minimum(np.abs(at[after] - times), np.abs(at[before] - times))
    fits = (near <= GAP / 2) & ((at[after] - at[before] <= GAP) | (near < 1 / RATE))
    found = np.interp(times, at, values)
    return [round(float(value), DIGITS) if fit else None for value, fit in zip(found, fits)]
