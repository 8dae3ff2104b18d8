"""Cutting shots into segments, and a segment's halo."""

from __future__ import annotations

import itertools
import math

import numpy as np

from operators.media.probe import VideoInfo
from pipelines.engine.config import SegmentRule

Range = tuple[int, int]


def cut_segments(
    shots: list[Range], info: VideoInfo, rule: SegmentRule, segment_frames: int
) -> tuple[list[Range], list[int]]:
    """Cut shots into equal parts: by time, each at most `rule.max_seconds` long, or by frames,
    at most `segment_frames`.

    Returns:
        [start, stop) frames of the segments, covering the title in order, and for each the number of its
        shot.
    """
    bounds: list[Range] = []
    shot_of: list[int] = []
    ends = np.append(info.pts, int(info.pts[-1]) + info.last_duration)
    for number, (start, stop) in enumerate(shots):
        if rule.kind == "shot":
            seconds = int(ends[stop] - ends[start]) * info.time_base
            count = max(1, math.ceil(float(seconds) / rule.max_seconds))
            times = [int(ends[start]) + int(ends[stop] - ends[start]) * k // count for k in range(1, count)]
            inner = [int(np.searchsorted(info.pts[:stop], time)) for time in times]
        else:
            count = math.ceil((stop - start) / segment_frames)
            inner = [start + (stop - start) * k // count for k in range(1, count)]
        edges = sorted({start, stop, *(edge for edge in inner if start < edge < stop)})
        bounds += list(itertools.pairwise(edges))
        shot_of += [number] * (len(edges) - 1)
    return bounds, shot_of


def halo_range(core: Range, shot: Range, halo: tuple[int, int]) -> Range:
    """Frames to decode for a core: grown by the halo, inside the shot (and so inside the title)."""
    return max(shot[0], core[0] - halo[0]), min(shot[1], core[1] + halo[1])
