"""The original's recorded run (../shared/parity/e2e) as files, and the engine's parity mode on them; also for
`make parity-demo`.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import scipy.io.wavfile

from operators.media.color import rgb_to_yuv
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from pipelines.engine.config import EngineConfig, ProfileConfig, load_engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.runner import Report, run
from tests.conftest import PARITY
from tests.parity import goldens
from tests.retalk_home import NESTINGS, make_home, standard_landmarks

#: Of RETALK_PARITY_GOLDENS, where that folder has a recorded run.
E2E = next(
    (folder / "e2e" for folder in (goldens(), PARITY) if folder is not None and (folder / "e2e").is_dir()),
    PARITY / "e2e",
)
#: The finest that x264 encodes: lossless with 8 bits, to within about a grey level with 10.
FINE = {"crf": 0}


def recipe_home(folder: Path) -> Path:
    """Model files with the weights of the recorded run, or others where there is none: all that both modes
    need.
    """
    expression = np.linspace(-1, 1, 64).astype(np.float32)
    five = np.array([[-0.3, 0.3, 0.2], [0.3, 0.3, 0.2], [0, 0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]])
    if E2E.is_dir():
        recorded = np.load(E2E / "inputs.npz")
        expression, five = recorded["expression_center"], recorded["lm3d_5x3"]
    return make_home(
        folder, [file for file in NESTINGS if file != "30_net_gen.pth"], expression, standard_landmarks(five)
    )


def profile(segment_frames: int, pools: int = 1, workers: int = 1) -> ProfileConfig:
    """Two cores in one pool or split where the engine fans out, and again among each pool's workers."""
    split = [("all", [])] if pools == 1 else [("segment", ["detect", "recon3d", "dnet"]), ("dub", [])]
    made = [
        PoolConfig(name=name, stages=stages, size=workers, num_cpus=2 / pools / workers, in_flight=1)
        for name, stages in split
    ]
    plan = PoolConfig(name="plan", size=1, num_cpus=0, in_flight=1)
    return ProfileConfig(
        name="test", segment_frames=segment_frames, plan=plan, pools=made, watchdog_seconds=900
    )


def write_exact(path: Path, rgb: np.ndarray, rate: int) -> Path:
    """A video whose decoded frames are exactly these uint8[T, h, w, 3]: lossless, 4:4:4 with 10 bits and full
    range.
    """
    height, width = rgb.shape[1:3]
    matrix = rgb_to_yuv(1, True, 10, height)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate, width=width, height=height, pix_fmt="yuv444p10le")
        stream.codec_context.color_range, stream.codec_context.colorspace = 2, 1
        for index, picture in enumerate(rgb):
            planes = (
                np.rint(picture.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3])
                .clip(0, 1023)
                .astype(np.uint16)
            )
            frame = av.VideoFrame(width, height, "yuv444p10le")
            for plane, values in zip(frame.planes, planes.transpose(2, 0, 1), strict=True):
                rows = np.zeros((height, plane.line_size // 2), np.uint16)
                rows[:, :width] = values
                plane.update(rows.tobytes())
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert (np.stack([f.rgb() for f in read_frames(str(path), 0, len(rgb))]) == rgb).all()
    return path


def recorded_clip(folder: Path, frames: int | None = None) -> tuple[Path, Path, Path]:
    """The original's input as files: video, speech, detector answers."""
    with np.load(E2E / "inputs.npz") as arrays:
        given = dict(arrays)
    folder.mkdir(parents=True, exist_ok=True)
    video = write_exact(folder / "source.mkv", given["frames_bgr"][:frames, ..., ::-1], int(given["fps"]))
    scipy.io.wavfile.write(folder / "speech.wav", 16000, given["wav"])
    answers = {
        "clip_landmarks": given["lm_dlib_frame0"][None],
        "source_landmarks": given["lm68_source256"],
        "enhanced_landmarks": given["lm68_enhanced256"],
        "face_boxes": given["s3fd_boxes_x1y1x2y2"],
        "reference_boxes": given["gpen_ref_box_score"],
        "reference_points": given["gpen_ref_pts5"],
        "final_boxes": given["gpen_final_box_score"],
        "final_points": given["gpen_final_pts5"],
        "restoration_points": given["gfpgan_pts5"],
    }
    np.savez(folder / "recorded.npz", **answers)
    return video, folder / "speech.wav", folder / "recorded.npz"


def parity_run(
    folder: Path,
    clip: tuple[Path, Path, Path],
    home: Path,
    chosen: ProfileConfig,
    ray: bool = False,
    length: str = "loop",
    engine: EngineConfig | None = None,
) -> Report:
    video, speech, recorded = clip
    options: dict[str, dict[str, Any]] = {
        name: {"recorded": str(recorded), "weights": str(home)}
        for name in ("detect", "recon3d", "dnet", "lnet", "enet", "blend")
    }
    options["blend"].update(FINE, pictures=str(folder / "pictures"))
    rows = [
        {
            "id": "clip",
            "video": str(video),
            "speech": str(speech),
            "output": str(folder / "out.mp4"),
            "length": length,
        }
    ]
    runner = "ray" if ray else "local"
    report = run(
        rows,
        run_dir=str(folder),
        engine=engine or load_engine("retalk-parity"),
        profile=chosen,
        options=options,
        runner=runner,
        watermark={"mode": "off"},
    )
    assert not report.failed, report.failed
    return report


def rendered(folder: Path) -> np.ndarray:
    """The frames uint8[N, h, w, 3] BGR of a `parity_run` before they were encoded."""
    read = [cv2.imread(str(path)) for path in sorted((folder / "pictures").glob("*.png"))]
    return np.stack([picture for picture in read if picture is not None])


def pictures(video: Path) -> np.ndarray:
    """All frames uint8[T, h, w, 3] RGB."""
    return np.stack([frame.rgb() for frame in read_frames(str(video), 0, probe_video(str(video)).n_frames)])
