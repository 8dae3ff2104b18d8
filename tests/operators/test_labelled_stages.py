"""The last stage of each engine draws a notice beside its mouths, and nothing else differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.exemplar.render_stage import RenderMouths
from operators.media.label import Label
from operators.media.label_drawing import notice
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.retalk.blend_stage import BlendStage
from operators.retalk.geometry import SIDE
from operators.segment import Segment
from operators.stage import Stage
from operators.talkin.blend_stage import BlendMouths
from operators.talkin.render_stage import SIDE as PAINTED
from operators.wav2lip.paste_stage import PasteStage
from operators.wav2lip.wav2lip_stage import SIDE as FACE
from tests.operators.media.synth import write_video

FRAMES, SIZE = 8, (192, 128)
LABEL = {"label": "AI", "label_seconds": "0.1-0.2", "label_size": 0.15}
BOXES = np.tile(np.array([100, 60, 180, 120], np.int64), (FRAMES, 1))
#: Of each stage, the columns that it reads beside the plan's; those of retalk and wav2lip draw a face, the others pass.
STAGES: dict[type[Stage], dict[str, Any]] = {
    RenderMouths: {
        "landmarks": np.zeros((FRAMES, 68, 2), np.float32),
        "valid": np.zeros(FRAMES, bool),
        "fault": np.ones(FRAMES, np.uint8),
        "covered": np.zeros(FRAMES, bool),
        "exemplar": np.full(FRAMES, -1),
        "shape": np.zeros((FRAMES, 68, 2), np.float32),
        "blend": np.zeros(FRAMES, np.float32),
        "still": False,
    },
    BlendStage: {
        "face_boxes": BOXES,
        "strength": np.ones(FRAMES, np.float32),
        "face": np.full((FRAMES, SIDE, SIDE, 3), 90, np.uint8),
        "mask": np.full((FRAMES, SIDE, SIDE), 255, np.uint8),
    },
    BlendMouths: {
        "landmarks": np.zeros((FRAMES, 68, 2), np.float32),
        "exemplar": np.full(FRAMES, -1),
        "shape": np.zeros((FRAMES, 68, 2), np.float32),
        "blend": np.zeros(FRAMES, np.float32),
        "painted": np.zeros((FRAMES, PAINTED, PAINTED, 3), np.uint8),
    },
    PasteStage: {
        "face_boxes": BOXES,
        "speaks": np.ones(FRAMES, bool),
        "face": np.full((FRAMES, FACE, FACE, 3), 90, np.uint8),
    },
}


def made(stage: type[Stage], folder: Path, name: str, options: dict[str, Any]) -> list[np.ndarray]:
    """Luma of the frames that a stage has encoded without loss."""
    source = folder / "source.mp4"
    if not source.exists():
        write_video(source, FRAMES, SIZE)
    info = probe_video(str(source))
    segment = Segment(
        {
            **{"video": str(source), "target": str(folder / f"{name}.mp4"), "options": ""},
            **{"start": 0, "stop": FRAMES, "halo_start": 0, "halo_stop": FRAMES, "out_start": 0},
            **{"frame_width": SIZE[0], "frame_height": SIZE[1], "n_frames": FRAMES},
            **{"source": np.arange(FRAMES), "out_pts": info.pts, "pts": info.pts},
            **STAGES[stage],
        }
    )
    stage(stage.Options(codec="ffv1", **options)).process(segment)
    return [frame.luma().copy() for frame in read_frames(str(folder / f"{name}.mp4"), 0, FRAMES)]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_notice_is_drawn_in_its_time_and_nothing_else_differs(stage: type[Stage], tmp_path: Path) -> None:
    plain, labelled = made(stage, tmp_path, "plain", {}), made(stage, tmp_path, "label", LABEL)
    source = [frame.luma() for frame in read_frames(str(tmp_path / "source.mp4"), 0, FRAMES)]
    drawn = any((one != other).any() for one, other in zip(plain, source, strict=True))
    assert drawn == (stage in (BlendStage, PasteStage))
    (x1, y1, x2, y2), _, alpha = notice(Label(**LABEL), *SIZE)  # type: ignore[arg-type]
    for number, (one, other) in enumerate(zip(plain, labelled, strict=True)):
        changed = one != other
        assert changed.any() == (number in (3, 4)), "25 frames a second"
        assert not changed[y1:y2, x1:x2][alpha == 0].any()
        changed[y1:y2, x1:x2] = False
        assert not changed.any()
