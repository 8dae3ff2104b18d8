"""Cutting shots into segments, a segment's halo, and the columns that follow from both."""

from __future__ import annotations

import itertools
import math
from typing import Any

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


def segment_columns(video: str, info: VideoInfo, core: Range, halo: Range, shot: Range) -> dict[str, Any]:
    """Columns of the plan (`operators.segment.PLAN`) that follow from the frames of a segment.

    Args:
        video: fsspec URL of the video.
        info: of the video.
        core: frames of the segment.
        halo: frames to decode, as of `halo_range`.
        shot: frames of the shot that it lies in.
    """
    return {
        "video": video,
        "frame_width": info.width,
        "frame_height": info.height,
        "start": core[0],
        "stop": core[1],
        "halo_start": halo[0],
        "halo_stop": halo[1],
        "shot_start": shot[0],
        "shot_stop": shot[1],
        "n_frames": info.n_frames,
        "time_base_num": info.time_base.numerator,
        "time_base_den": info.time_base.denominator,
        "out_origin": int(info.pts[0]),
        "pts": info.pts[slice(*halo)],
    }
