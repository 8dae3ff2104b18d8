"""The stage "paste" lays in the faces of all people of a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from operators.media.reader import read_frames
from operators.segment import Segment
from operators.wav2lip.paste_stage import PasteOptions, PasteStage
from tests.operators.output_rows import output_row
from tests.pipelines.conftest import make_video


def person(video: Path, left: int, colour: tuple[int, int, int]) -> dict[str, Any]:
    return {
        **output_row(video, np.tile(np.array((left, 16, left + 48, 64), np.int64), (3, 1))),
        "speaks": np.array([True, False, True]),
        "face": np.full((3, 96, 96, 3), colour, np.uint8),
    }


def test_every_person_is_pasted(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=3, size=(192, 96), sound=False)
    row = {**person(video, 16, (220, 20, 20)), "others": (person(video, 112, (20, 200, 20)),)}
    PasteStage(PasteOptions(crf=1)).process(Segment(row))
    for frame in read_frames(row["target"], 0, 3):
        rgb = frame.rgb().astype(int)
        for x, colour in ((40, (220, 20, 20)), (136, (20, 200, 20))):
            assert (np.abs(rgb[40, x] - colour).max() < 12) == (frame.index != 1)
