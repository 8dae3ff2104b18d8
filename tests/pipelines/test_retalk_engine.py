"""The neural engine through the real graph, on made-up weights: parity with the original's recorded run, and the default mode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import scipy.io.wavfile
import torch

from benchmarks.reference_loop import reference_loop
from operators.media.color import rgb_to_yuv
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.retalk.detectors import NetworkDetectors, RecordedDetectors
from operators.retalk.nets import Networks
from pipelines.config import PoolConfig, ProfileConfig, load_engine
from pipelines.dub import Report, run
from tests.conftest import PARITY
from tests.parity import assert_close
from tests.retalk_home import NESTINGS, make_home, standard_landmarks

E2E = PARITY / "e2e"
needs_fixture = pytest.mark.skipif(not E2E.is_dir(), reason="no recorded run of the original beside this checkout")
#: Encoded so that it is decoded to within a grey level: 10 bits, 4:4:4.
FINE = {"crf": 0}


def profile(segment_frames: int, pools: int = 1) -> ProfileConfig:
    """Two threads for the networks, in one worker or split where the engine fans out."""
    split = [("all", [])] if pools == 1 else [("segment", ["detect", "recon3d", "dnet"]), ("dub", [])]
    made = [PoolConfig(name=name, stages=stages, size=1, num_cpus=2 / pools, in_flight=1) for name, stages in split]
    plan = PoolConfig(name="plan", size=1, num_cpus=0, in_flight=1)
    return ProfileConfig(name="test", segment_frames=segment_frames, plan=plan, pools=made, watchdog_seconds=900)


def write_exact(path: Path, rgb: np.ndarray, rate: int) -> Path:
    """A video whose decoded frames are exactly these uint8[T, h, w, 3]: lossless, 4:4:4 with 10 bits and full range."""
    height, width = rgb.shape[1:3]
    matrix = rgb_to_yuv(1, True, 10, height)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate, width=width, height=height, pix_fmt="yuv444p10le")
        stream.codec_context.color_range, stream.codec_context.colorspace = 2, 1
        for index, picture in enumerate(rgb):
            planes = np.rint(picture.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]).clip(0, 1023).astype(np.uint16)
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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model files for both modes."""
    expression, five = (
        np.linspace(-1, 1, 64).astype(np.float32),
        np.array([[-0.3, 0.3, 0.2], [0.3, 0.3, 0.2], [0, 0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]]),
    )
    if E2E.is_dir():
        recorded = np.load(E2E / "inputs.npz")
        expression, five = recorded["expression_center"], recorded["lm3d_5x3"]
    return make_home(tmp_path_factory.mktemp("home"), [f for f in NESTINGS if f != "30_net_gen.pth"], expression, standard_landmarks(five))


class Remembered:
    """A network that, asked the same again, gives the same answer without computing it: a second run costs only what differs.

    A batch is asked picture by picture, so that other batches of the same pictures are no other questions.
    """

    def __init__(self, net: torch.nn.Module, answers: dict[str, Any]) -> None:
        self.net, self.answers = net, answers

    def _ask(self, method: Callable[..., Any], *args: torch.Tensor, **kwargs: Any) -> Any:
        return joined([self._one(method, [a[i : i + 1] for a in args], kwargs) for i in range(len(args[0]))])

    def _one(self, method: Callable[..., Any], args: list[torch.Tensor], kwargs: dict[str, Any]) -> Any:
        digest = hashlib.sha256(f"{type(self.net).__name__} {method.__name__} {kwargs}".encode())
        for tensor in args:
            digest.update(f"{tensor.shape} {tensor.dtype}".encode() + tensor.contiguous().numpy().tobytes())
        key = digest.hexdigest()
        if key not in self.answers:
            self.answers[key] = method(*args, **kwargs)
        return self.answers[key]

    def __call__(self, *args: torch.Tensor, **kwargs: Any) -> Any:
        return self._ask(self.net.forward, *args, **kwargs)

    def enhance(self, *args: torch.Tensor, **kwargs: Any) -> Any:
        return self._ask(self.net.enhance, *args, **kwargs)


def joined(parts: list[Any]) -> Any:
    """Answers for single pictures as the answer for the batch."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    if isinstance(parts[0], dict):
        return {key: joined([part[key] for part in parts]) for key in parts[0]}
    return type(parts[0])(None if values[0] is None else joined(list(values)) for values in zip(*parts, strict=True))


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Networks of this process remember their answers; what they are asked is still made by the stages, every time."""
    answers: dict[str, Any] = {}
    real = Networks.module
    monkeypatch.setattr(Networks, "module", lambda self, *args, **options: Remembered(real(self, *args, **options), answers))
    return answers


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
    folder: Path, clip: tuple[Path, Path, Path], home: Path, chosen: ProfileConfig, ray: bool = False, length: str = "loop"
) -> Report:
    video, speech, recorded = clip
    options: dict[str, dict[str, Any]] = {
        name: {"recorded": str(recorded), "weights": str(home)} for name in ("detect", "recon3d", "dnet", "lnet", "enet", "blend")
    }
    options["blend"].update(FINE)
    rows = [{"id": "clip", "video": str(video), "speech": str(speech), "output": str(folder / "out.mp4"), "length": length}]
    report = run(rows, run_dir=str(folder), engine=load_engine("retalk-parity"), profile=chosen, options=options, ray=ray)
    assert not report.failed, report.failed
    return report


def pictures(video: Path) -> np.ndarray:
    """All frames uint8[T, h, w, 3] RGB."""
    return np.stack([frame.rgb() for frame in read_frames(str(video), 0, probe_video(str(video)).n_frames)])


def assert_like(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The bound of the parity material for pictures: 8-bit truncation sits between the stages."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.mean() < 0.5
    assert (difference <= 2).mean() >= 0.99


@needs_fixture
def test_parity_mode_equals_the_original_for_any_segment_length(tmp_path: Path, home: Path, remembering: dict[str, Any]) -> None:
    clip = recorded_clip(tmp_path / "clip")
    check_the_loop(clip, home)
    asked = len(remembering)
    parity_run(tmp_path / "whole", clip, home, profile(50))
    whole = pictures(tmp_path / "whole" / "out.mp4")
    theirs = np.load(E2E / "final_frames.npz")["frames_bgr"][..., ::-1]
    assert len(whole) == 10  # the original leaves out the last two
    assert_like(whole[: len(theirs)], theirs)
    assert_like(whole[8:], pictures(clip[0])[2:4])
    # Stages and loop ask the networks exactly the same; only the parser sees what was rounded to 8 bits in between.
    assert len(remembering) <= asked + 3 * len(theirs)
    asked = len(remembering)
    parity_run(tmp_path / "cut", clip, home, profile(4))
    assert_like(pictures(tmp_path / "cut" / "out.mp4"), whole)
    assert len(remembering) == asked, "with another segment length the networks were asked something else"


def check_the_loop(clip: tuple[Path, Path, Path], home: Path) -> None:
    """The benchmarks' baseline on the original's input, step by step."""
    with np.load(E2E / "inputs.npz") as arrays:
        given = dict(arrays)
    networks = Networks(weights=str(home))
    detectors = RecordedDetectors(str(clip[2]), NetworkDetectors(networks))
    record = reference_loop(
        *(given["frames_bgr"], given["wav"], float(given["fps"]), networks, detectors),
        *(given["expression_center"], given["lm3d_5x3"], int(given["lnet_batch_size"])),
    )
    references, outputs = np.load(E2E / "stage_refs.npz"), np.load(E2E / "stage_outputs.npz")
    assert_close("semantic", record.semantic, outputs["semantic"])
    assert record.starts.tolist() == outputs["chunk_starts"].tolist()
    assert_like(np.stack(record.stabilised), references["stabilised_bgr"])
    assert_like(np.stack(record.enhanced), references["enhanced_ref_bgr"])
    faces = np.stack(record.faces).transpose(0, 3, 1, 2)[:, :, ::4, ::4]
    assert np.abs(faces - outputs["enet_pred_s4"]).mean() < 0.5 / 255
    for number in (0, 7):
        assert_like(record.finished[number].pasted, outputs[f"pasted_bgr_{number}"])
    assert_like(record.finished[0].restored, outputs["gfpgan_frame_0"])
    assert_like(record.finished[0].blended, outputs["mouth_blended_0"])
    finals = np.load(E2E / "final_frames.npz")["frames_bgr"]
    for ours, theirs in zip(record.finished, finals, strict=True):
        assert_like(ours.final, theirs)


@needs_fixture
def test_parity_mode_on_ray_equals_the_plain_loop(tmp_path: Path, home: Path, ray_session: Any) -> None:
    clip = recorded_clip(tmp_path / "clip", frames=1)
    parity_run(tmp_path / "ray", clip, home, profile(50, pools=2), ray=True, length="keep")
    parity_run(tmp_path / "local", clip, home, profile(50, pools=2), length="keep")
    assert (tmp_path / "ray" / "out.mp4").read_bytes() == (tmp_path / "local" / "out.mp4").read_bytes()
