"""The neural engine through the real graph, on made-up weights: parity with the original's recorded run, and the default mode."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from benchmarks.reference_loop import reference_loop
from operators.retalk.detectors import NetworkDetectors, RecordedDetectors
from operators.retalk.nets import Networks
from operators.stage import option_help
from pipelines.config import ProfileConfig, UsageError, load_engine
from pipelines.dub import Report, run
from pipelines.engine import Engine
from tests.parity import assert_close
from tests.pipelines.conftest import make_speech
from tests.recorded_run import E2E, FINE, parity_run, pictures, profile, recipe_home, recorded_clip, rendered

needs_fixture = pytest.mark.skipif(not E2E.is_dir(), reason="no recorded run of the original beside this checkout")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Model files for both modes: gigabytes, so they go with this module's last test."""
    folder = recipe_home(tmp_path_factory.mktemp("home"))
    yield folder
    shutil.rmtree(folder)


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


def assert_like(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The bound of the parity material for pictures: 8-bit truncation sits between the stages."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.mean() < 0.5
    assert (difference <= 2).mean() >= 0.99


@pytest.mark.slow
@needs_fixture
def test_parity_mode_equals_the_original_for_any_segment_length(tmp_path: Path, home: Path, remembering: dict[str, Any]) -> None:
    clip = recorded_clip(tmp_path / "clip")
    check_the_loop(clip, home)
    asked = len(remembering)
    parity_run(tmp_path / "whole", clip, home, profile(50))
    whole, theirs = rendered(tmp_path / "whole"), np.load(E2E / "final_frames.npz")["frames_bgr"]
    assert len(whole) == len(theirs)
    assert_like(whole, theirs)
    assert len(remembering) == asked, "loop and stages asked the networks different things"
    encoded, source = pictures(tmp_path / "whole" / "out.mp4"), pictures(clip[0])
    assert len(encoded) == 10  # the speech's length; the original leaves out the last two, which stay as they were
    assert np.abs(encoded[:8, ..., ::-1].astype(int) - whole).mean() < 1
    assert np.abs(encoded[8:].astype(int) - source[2:4]).mean() < 1
    parity_run(tmp_path / "cut", clip, home, profile(4))
    assert (rendered(tmp_path / "cut") == whole).all()
    assert len(remembering) == asked, "with another segment length the networks were asked something else"


def check_the_loop(clip: tuple[Path, Path, Path], home: Path) -> None:
    """The benchmarks' baseline on the original's input, step by step."""
    with np.load(E2E / "inputs.npz") as arrays:
        given = dict(arrays)
    networks = Networks(weights=str(home))
    detectors = RecordedDetectors(str(clip[2]), NetworkDetectors(networks))
    record = reference_loop(
        *(given["frames_bgr"], given["wav"], float(given["fps"]), networks, detectors),
        *(given["expression_center"], given["lm3d_5x3"].astype(np.float64), int(given["lnet_batch_size"])),
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


@pytest.mark.slow
@needs_fixture
def test_parity_mode_on_ray_equals_the_plain_loop(tmp_path: Path, home: Path, ray_session: Any) -> None:
    clip = recorded_clip(tmp_path / "clip", frames=1)
    parity_run(tmp_path / "ray", clip, home, profile(50, pools=2), ray=True, length="keep")
    parity_run(tmp_path / "local", clip, home, profile(50, pools=2), length="keep")
    assert (tmp_path / "ray" / "out.mp4").read_bytes() == (tmp_path / "local" / "out.mp4").read_bytes()


def talking_clip(folder: Path, frames: int) -> tuple[Path, Path]:
    """The astronaut under a moving camera, 25 frames a second, and speech for the first two frames."""
    import skimage.data

    folder.mkdir(parents=True, exist_ok=True)
    astronaut = skimage.data.astronaut()
    views = [astronaut[:256, 60 + 2 * index : 380 + 2 * index] for index in range(frames)]
    video = folder / "astronaut.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=320, height=256, pix_fmt="yuv420p", options={"crf": "12"})
        for index, view in enumerate(views):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    make_speech(folder / "speech.wav", 0.08)
    return video, folder / "speech.wav"


def default_run(
    folder: Path, clip: tuple[Path, Path], home: Path, chosen: ProfileConfig, enet: dict[str, Any], ray: bool = False
) -> Report:
    """The default mode; 8-bit crf 0 is lossless: what is decoded from the output is what the stages made."""
    options: dict[str, dict[str, Any]] = {name: {"weights": str(home)} for name in ("recon3d", "dnet", "lnet")}
    options |= {"lnet": {"weights": str(home), "ease": 0}, "enet": {"weights": str(home), **enet}, "blend": dict(FINE)}
    rows = [{"id": "clip", "video": str(clip[0]), "speech": str(clip[1]), "output": str(folder / "out.mp4")}]
    report = run(rows, run_dir=str(folder), engine=load_engine("retalk"), profile=chosen, options=options, ray=ray)
    assert not report.failed, report.failed
    return report


def test_default_mode_draws_the_mouth_and_leaves_the_rest(tmp_path: Path, home: Path, remembering: dict[str, Any]) -> None:
    clip = talking_clip(tmp_path / "clip", 5)
    default_run(tmp_path / "whole", clip, home, profile(50), {})
    source, made = pictures(clip[0]), pictures(tmp_path / "whole" / "out.mp4")
    changed = (made != source).any(-1)
    assert [bool(frame.any()) for frame in changed] == [True, True, False, False, False]  # the own mouth after the speech
    landmarks = NetworkDetectors(Networks()).clip_landmarks(0, source[0])
    assert landmarks is not None
    x, y = np.rint(landmarks[48:68].mean(0)).astype(int)
    assert changed[0, y - 2 : y + 3, x - 5 : x + 6].mean() > 0.8
    assert not changed[:2, : landmarks[27:31, 1].min()].any(), "eyes and brows were touched"
    left, right = landmarks[:, 0].min(), landmarks[:, 0].max()
    assert not changed[0, :, : left - 12].any()
    assert not changed[0, :, right + 12 :].any()
    asked = len(remembering)
    default_run(tmp_path / "cut", clip, home, profile(1), {})
    assert (pictures(tmp_path / "cut" / "out.mp4") == made).all()
    assert len(remembering) == asked, "with another segment length the networks were asked something else"


def test_default_mode_on_ray_equals_the_plain_loop(tmp_path: Path, home: Path, ray_session: Any) -> None:
    clip, lean = talking_clip(tmp_path / "clip", 2), {"restoration": "none", "mask": "ellipse"}
    default_run(tmp_path / "ray", clip, home, profile(50, pools=2), lean, ray=True)
    default_run(tmp_path / "local", clip, home, profile(50, pools=2), lean)
    assert (tmp_path / "ray" / "out.mp4").read_bytes() == (tmp_path / "local" / "out.mp4").read_bytes()


def test_without_weights_nothing_runs_and_the_one_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "empty"))
    options = {"dnet": {"enhance": "gpen"}}
    rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": str(tmp_path / "out.mp4")}]
    with pytest.raises(UsageError, match=r"DNet\.pt[\s\S]*GPEN-BFR-512\.pth[\s\S]*retalk models pull .*DNet\.pt[\s\S]*--engine exemplar"):
        run(rows, run_dir=str(tmp_path / "run"), engine="retalk", profile=profile(50), options=options, ray=False)
    assert not (tmp_path / "out.mp4").exists()


def test_options_that_cannot_be_are_refused_with_their_names(tmp_path: Path) -> None:
    rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": str(tmp_path / "out.mp4")}]
    wrong: list[tuple[str, str, Any, str]] = [
        ("dnet", "expression", "grumpy", "neutral, smile"),
        ("enet", "restoration", "magic", "gfpgan-1.4"),
        ("enet", "upper_face", "bored", "surprise"),
        ("lnet", "strength", 2.0, "from 0 to 1"),
        ("blend", "levels", 0, "from 1 to 8"),
    ]
    for stage, option, value, allowed in wrong:
        with pytest.raises(UsageError, match=re.escape(allowed)):
            run(rows, run_dir=str(tmp_path / "run"), engine="retalk", profile=profile(50), options={stage: {option: value}}, ray=False)


@pytest.mark.parametrize("engine", ["retalk", "retalk-parity", "exemplar"])
def test_every_option_says_what_it_means(engine: str) -> None:
    for spec in Engine(load_engine(engine)).stages:
        for name, text in option_help(type(spec.options)).items():
            assert len(text) > 10, f"{spec.name}.{name}: nothing under Attributes"
