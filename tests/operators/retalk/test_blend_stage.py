"""The stage "blend" lays in the faces of all people of a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from operators.media.reader import read_frames
from operators.retalk.blend_stage import BlendOptions, BlendStage
from operators.segment import Segment
from tests.operators.output_rows import output_row
from tests.pipelines.conftest import make_video

BOXES = [(16, 16, 64, 64), (112, 32, 160, 80)]


def person(
    video: Path, box: tuple[int, int, int, int], colour: tuple[int, int, int], strength: float
) -> dict[str, Any]:
    return {
        **output_row(video, np.tile(np.array(box, np.int64), (3, 1))),
        "strength": np.full(3, strength, np.float32),
        "face": np.full((3, 384, 384, 3), colour, np.uint8),
        "mask": np.full((3, 384, 384), 255, np.uint8),
    }


def test_every_person_is_laid_in(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=3, size=(192, 96), sound=False)
    others = (person(video, BOXES[1], (20, 200, 20), 1), person(video, BOXES[0], (0, 0, 0), 0))
    row = {**person(video, BOXES[0], (220, 20, 20), 1), "others": others}
    BlendStage(BlendOptions(levels=1, crf=1)).process(Segment(row))
    for frame in read_frames(row["target"], 0, 3):
        rgb = frame.rgb().astype(int)
        assert np.abs(rgb[40, 40] - (220, 20, 20)).max() < 12
        assert np.abs(rgb[56, 136] - (20, 200, 20)).max() < 12
        assert np.abs(rgb[56, 88] - (60, 90, 120)).max() < 70, "between them is the source"
