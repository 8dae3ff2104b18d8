"""Metrics of a run: numbers about its results, per output segment, per shot or per title.

`pipelines` calls them beside the last stage and at the assembly of a dub; they appear in the ledger and in
`retalk report`. How to add one: docs/extending.md.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa

from operators.media.frames import Frame
from operators.segment import Segment

#: Digits after the point that are kept of a value.
DIGITS = 6
#: Reason in the note on a metric of whole outputs that gave no value and did not say why.
NO_VALUE = "it has no value for this result"


@dataclass(frozen=True)
class FinishedDub:
    """A dub whose output has just been written.

    Attributes:
        video: fsspec URL of the source video.
        speech: fsspec URL of the speech.
        output: fsspec URL of the output.
        language: of the speech, "" if unknown.
        frames: number of the output's frames.
        seconds: the output's duration.
        audio: "replace", "add" or "keep", see `operators.media.assemble`.
    """

    video: str
    speech: str
    output: str
    language: str
    frames: int
    seconds: float
    audio: str = "replace"


class NoValueError(ValueError):
    """A result has no value of a metric, for a reason that is worth a note (a missing face, sound that is too short)."""


class Metric(ABC):
    """A number about results. Subclass `SegmentMetric` or `TitleMetric`; classes are constructed without
    arguments, or with those that their place names (`pipelines.engine.metrics.load_metric`).

    A metric that raises has no value there, and the title gets a note; it never fails a title.
    """

    name: ClassVar[str]
    #: Of the values, "" for a ratio or a count.
    unit: ClassVar[str] = ""
    #: Which values are better; "": neither, and no value is reported as the worst.
    better: ClassVar[Literal["higher", "lower", ""]] = ""
    #: Models that it loads, see `Stage.bundled_models`.
    models: ClassVar[tuple[str, ...]] = ()
    #: It runs without being asked for (``--set metrics.on=...`` names metrics).
    on: ClassVar[bool] = True
    per: ClassVar[Literal["segment", "shot", "title"]]


class SegmentMetric(Metric):
    """A metric that is measured while the last stage makes an output segment, in the same worker.

    With ``per = "shot"`` the values of a shot's output segments are combined into one.
    """

    per: ClassVar[Literal["segment", "shot", "title"]] = "segment"
    #: Columns that `sample` and `measure` read of the row that enters the last stage, beside
    #: `operators.segment.PLAN` and `DUB`. The metric is left out with engines whose last stage has others.
    reads: ClassVar[pa.Schema] = pa.schema([])
    #: `sample` is called with every so many output frames.
    every: ClassVar[int] = 1

    def sample(self, segment: Segment, index: int, frame: Frame) -> float:
        """Measure one finished output frame; NaN where it has no value.

        Args:
            segment: the row as it entered the last stage.
            index: number of the frame in the output segment, 0 ... N - 1.
            frame: the finished frame; `Frame.drawn` is the box that was drawn into (None: nothing was),
                `Frame.original` the frame before.
        """
        del segment, index, frame
        return math.nan

    def measure(self, segment: Segment, samples: np.ndarray) -> float:
        """Return the value of an output segment; NaN where it has none.

        Args:
            segment: the row as it entered the last stage.
            samples: float64[K], the finite values of `sample`.
        """
        del segment
        return float(samples.mean()) if len(samples) else math.nan

    def combine(self, values: np.ndarray, weights: np.ndarray) -> float:
        """Return one value for several output segments, of a shot or of the whole title.

        Args:
            values: float64[S] of the output segments.
            weights: int64[S], the samples behind each, or its frames where `sample` gave none.
        """
        return float(np.average(values, weights=weights))


class TitleMetric(Metric):
    """A metric of a whole output, measured once it is written. It may open the files."""

    per: ClassVar[Literal["segment", "shot", "title"]] = "title"

    @abstractmethod
    def measure(self, dub: FinishedDub) -> float:
        """Return the dub's value; NaN where it has none."""


class Recorder(Protocol):
    """Keeps more of an output segment than a value."""

    def frame(self, index: int, frame: Frame) -> None:
        """Look at one finished output frame."""

    def result(self) -> dict[str, Any]:
        """Return plain data."""


class Meter:
    """Measures one output segment while the last stage makes it.

    Args:
        metrics: those that apply to the engine.
        segment: the row as it enters the last stage.
        watch: also keep the record of `operators.evaluation.watch`; where it fails there is a note and no record.
    """

    def __init__(self, metrics: Iterable[SegmentMetric], segment: Segment, watch: bool = False) -> None:
        self._segment = segment
        self._watch: Recorder | None = None
        if watch:
            # What it needs takes long to import, and not every user of metrics wants it.
            from operators.evaluation.watch import Watch

            self._watch = Watch(segment)
        self._samples: dict[SegmentMetric, list[float]] = {metric: [] for metric in metrics}
        self._sampling = [
            metric for metric in self._samples if type(metric).sample is not SegmentMetric.sample
        ]
        #: What went wrong, in words.
        self.notes: list[str] = []

    def frame(self, index: int, frame: Frame) -> None:
        """Sample one finished output frame."""
        for metric in [*self._sampling]:
            if index % metric.every:
                continue
            try:
                value = float(metric.sample(self._segment, index, frame))
            except Exception as problem:
                self._give_up(metric, problem)
                continue
            if math.isfinite(value):
                self._samples[metric].append(value)
        if self._watch is not None:
            try:
                self._watch.frame(index, frame)
            except Exception as problem:
                self._unwatched(problem)

    def result(self) -> dict[str, Any]:
        """Return plain data for `summarize`: the shot, where in the output the segment starts (seconds),
        of each metric with a value ``[value, weight]``, and the record of the watch.
        """
        segment, values = self._segment, {}
        for metric, samples in list(self._samples.items()):
            try:
                value = float(metric.measure(segment, np.array(samples, np.float64)))
            except Exception as problem:
                self._give_up(metric, problem)
                continue
            if math.isfinite(value):
                values[metric.name] = [round(value, DIGITS), len(samples) or len(segment.source)]
        start = float(segment.speech_times[0]) if len(segment.source) else 0.0
        found = {"shot": list(segment.shot), "start": round(start, 3), "values": values}
        if self._watch is not None:
            try:
                found["watch"] = self._watch.result()
            except Exception as problem:
                self._unwatched(problem)
        return found

    def _unwatched(self, problem: Exception) -> None:
        self.notes.append(f"the mouth was not watched: {type(problem).__name__}: {problem}")
        self._watch = None

    def _give_up(self, metric: SegmentMetric, problem: Exception) -> None:
        self.notes.append(failure(metric, problem))
        del self._samples[metric]
        self._sampling = [other for other in self._sampling if other is not metric]


def failure(metric: Metric, problem: Exception) -> str:
    """Return the note about a metric that could not be measured, see `noted`."""
    kind = "" if isinstance(problem, NoValueError) else f"{type(problem).__name__}: "
    return f"metric {metric.name}: {kind}{problem}"


def noted(note: str) -> tuple[str, str]:
    """Return the metric's name and the reason of a note that `failure` wrote; ("", "") for any other note."""
    start, colon, reason = note.partition(": ")
    named = start.startswith("metric ") and bool(colon)
    return (start.removeprefix("metric "), reason) if named else ("", "")


def summarize(
    metrics: Iterable[SegmentMetric], measured: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a dub's values of these metrics from what `Meter.result` said of its output segments.

    Returns:
        ``{name, per, unit, better, value, worst, worst_at}``, one per metric with a value: over the title, of
        the worst unit (`Metric.per`; None where none is worse), and where that starts in the output, seconds.
    """
    found = []
    for metric in metrics:
        units: dict[Any, list[tuple[float, float, int]]] = {}
        for number, one in enumerate(measured):
            if metric.name in one.get("values", {}):
                value, weight = one["values"][metric.name]
                unit = number if metric.per == "segment" else tuple(one["shot"])
                units.setdefault(unit, []).append((one["start"], value, weight))
        if not units:
            continue
        everything = [entry for entries in units.values() for entry in entries]
        rated = [(_combined(metric, entries), entries[0][0]) for entries in units.values()]
        worst: tuple[float | None, float | None] = (None, None)
        if metric.better:
            worst = (min if metric.better == "higher" else max)(rated, key=lambda pair: pair[0])
        found.append(row(metric, _combined(metric, everything), *worst))
    return found


def row(
    metric: Metric, value: float, worst: float | None = None, worst_at: float | None = None
) -> dict[str, Any]:
    """Return a metric's entry in the record of a dub."""
    said = {name: getattr(metric, name) for name in ("name", "per", "unit", "better")}
    return {**said, "value": round(value, DIGITS), "worst": worst, "worst_at": worst_at}


def title_row(name: str, value: float, unit: str = "") -> dict[str, Any]:
    """Return the entry of a number about a whole dub that is neither good nor bad."""
    said = {"name": name, "per": "title", "unit": unit, "better": ""}
    return {**said, "value": round(float(value), DIGITS), "worst": None, "worst_at": None}


def _combined(metric: SegmentMetric, entries: Sequence[tuple[float, float, int]]) -> float:
    values = np.array([value for _, value, _ in entries], np.float64)
    weights = np.array([weight for _, _, weight in entries], np.int64)
    return round(float(metric.combine(values, weights)), DIGITS)
