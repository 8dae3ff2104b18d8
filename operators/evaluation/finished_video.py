"""Metrics of videos that exist already, whoever made them: those of outputs as they are, those of frames by one decode."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from operators.evaluation.metric import (
    NO_VALUE,
    FinishedDub,
    Meter,
    Metric,
    NoValueError,
    SegmentMetric,
    TitleMetric,
    failure,
    row,
    summarize,
)
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.segment import Segment

#: Metrics that hold each frame against the same frame of the source.
PAIRED = ("psnr", "ssim", "lpips")


@dataclass(frozen=True)
class PairedFrame:
    """A frame with the true one, as metrics see a finished frame of a dub: all of it counts as drawn."""

    frame: Frame
    original: Frame

    @property
    def drawn(self) -> Box:
        """The whole picture."""
        return (0, 0, *self.frame.size)

    def luma(self, box: Box | None = None) -> np.ndarray:
        """See `Frame.luma`."""
        return self.frame.luma(box)

    def rgb(self, box: Box | None = None) -> np.ndarray:
        """See `Frame.rgb`."""
        return self.frame.rgb(box)


def measure_video(
    metrics: Iterable[Metric], dub: FinishedDub, paired: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure a video; the frames are decoded once for all metrics of frames.

    Args:
        metrics: of either kind; those that need the region that a dub has drawn have no value.
        dub: what is known of the video; ``video`` may be "" where no source is.
        paired: the source is the truth, frame by frame, for the metrics of `PAIRED`.

    Returns:
        Entries as in the ledger's column ``metrics``, and notes about those that have no value.
    """
    wanted = list(metrics)
    found, notes = list[dict[str, Any]](), list[str]()
    for metric in wanted:
        if not isinstance(metric, TitleMetric):
            continue
        try:
            value = float(metric.measure(dub))
        except Exception as problem:
            notes.append(failure(metric, problem))
            continue
        if math.isfinite(value):
            found.append(row(metric, value))
        else:
            notes.append(failure(metric, NoValueError(NO_VALUE)))
    of_frames = [metric for metric in wanted if isinstance(metric, SegmentMetric)]
    if of_frames:
        try:
            more, unmeasured = _measure_frames(of_frames, dub, paired)
        except ValueError as problem:
            more, unmeasured = [], [failure(metric, problem) for metric in of_frames]
        found, notes = found + more, notes + unmeasured
    return found, notes


def _measure_frames(
    metrics: Sequence[SegmentMetric], dub: FinishedDub, paired: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure metrics of frames, in one decode of the output and, where ``paired``, one of the source."""
    info = probe_video(dub.output)
    whole = Segment({"shot_start": 0, "shot_stop": info.n_frames, "source": np.zeros(0, np.int64)})
    against = [metric for metric in metrics if metric.name in PAIRED]
    alone, both = Meter([metric for metric in metrics if metric not in against], whole), Meter(against, whole)
    notes = []
    truth: Iterator[Frame] = iter(())
    if against and (why := _unpaired(dub, paired)):
        notes = [failure(metric, NoValueError(why)) for metric in against]
        both = Meter([], whole)
    elif against:
        source = probe_video(dub.video)
        truth = read_frames(dub.video, 0, source.n_frames, source)
    for frame in read_frames(dub.output, 0, info.n_frames, info):
        alone.frame(frame.index, frame)
        if (original := next(truth, None)) is not None:
            both.frame(frame.index, cast(Frame, PairedFrame(frame, original)))
    found = summarize([m for m in metrics if m not in against], [alone.result()])
    if against and not notes:
        found += summarize(against, [both.result()])
    return found, notes + alone.notes + both.notes


def _unpaired(dub: FinishedDub, paired: bool) -> str:
    """Return why a video's frames cannot be held against its source's; "" if they can."""
    if not paired or not dub.video:
        return "needs the true pictures: protocol reconstruction, and a source video"
    output, source = probe_video(dub.output), probe_video(dub.video)
    if (output.width, output.height) != (source.width, source.height):
        return (
            f"the result has {output.width}x{output.height} pixels and its source {source.width}x{source.height}: "
            "they do not pair up"
        )
    return ""
