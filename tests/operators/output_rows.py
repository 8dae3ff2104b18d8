"""Rows of output segments as the last stage of an engine gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def output_row(video: Path, boxes: np.ndarray) -> dict[str, Any]:
    """Columns of an output segment that shows the first frames of a video as they come.

    Args:
        video: its path; the segment is written beside it.
        boxes: of the face, int64[N, 4], left, top, right, bottom, in pixels.
    """
    count = len(boxes)
    return {
        "video": str(video),
        "options": "",
        "start": 0,
        "stop": count,
        "source": np.arange(count),
        "out_pts": np.arange(count) * 100,
        "target": str(video.with_name("out.mp4")),
        "face_boxes": boxes,
    }
