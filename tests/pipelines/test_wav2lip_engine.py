"""The engine wav2lip through the real planner and graph, on made-up weights, against a plain loop of the
original's steps.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch

from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.retalk.detectors import NetworkDetectors
from operators.retalk.mel import mel_spectrogram
from operators.retalk.nets import Networks, shared_networks
from operators.stage import option_help
from operators.wav2lip.wav2lip_stage import NO_FACE
from pipelines.cli import main as cli
from pipelines.engine.config import ProfileConfig, load_engine, load_profile
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import UsageError
from pipelines.runner import Report, run
from pipelines.state.run_directory import RunDirectory
from retalk_models import load
from tests.operators.wav2lip.home import marked, wav2lip_home
from tests.pipelines.conftest import make_speech
from tests.signatures import without_signature

SIZE, RATE = (192, 160), 25
#: Columns of the mark that the detector takes for a face (`home.mark_finder`), frame by frame.
PATH = (70, 70, 100, 100, 70, 130, 130)
FRAMES = len(PATH)
#: Speech for which the original renders exactly so many frames: the last hears the end of it.
SECONDS = 0.41
Box = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = wav2lip_home(tmp_path_factory.mktemp("home"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The astronaut with a mark that wanders over her forehead, and a speech that lasts through the video."""
    folder = tmp_path_factory.mktemp("clip")
    return write_clip(folder / "astronaut.mp4", views(*PATH)), make_speech(folder / "speech.wav", SECONDS)


def views(*columns: int | None) -> list[np.ndarray]:
    """Pictures uint8[160, 192, 3] of the astronaut's face, with a mark in these columns; None: without one."""
    import skimage.data

    face = skimage.data.astronaut()[20 : 20 + SIZE[1], 120 : 120 + SIZE[0]]
    return [face.copy() if x is None else marked(face, x, 70) for x in columns]


def write_clip(path: Path, pictures: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, width=SIZE[0], height=SIZE[1], pix_fmt="yuv420p", options={"crf": "10"}
        )
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def profile(segment_frames: int, pools: int = 1, workers: int = 1) -> ProfileConfig:
    names: list[tuple[str, list[str]]] = (
        [("segment", ["detect"]), ("dub", [])] if pools == 2 else [("all", [])]
    )
    made = [
        PoolConfig(name=name, stages=stages, size=workers, num_cpus=2 / pools / workers, in_flight=1)
        for name, stages in names
    ]
    plan = PoolConfig(name="plan", size=1, num_cpus=0, in_flight=1)
    return ProfileConfig(
        name="test", segment_frames=segment_frames, plan=plan, pools=made, watchdog_seconds=900
    )


def dub(
    folder: Path,
    clip: tuple[Path, Path],
    home: Path,
    segment_frames: int = 50,
    ray: bool = False,
    chosen: Any = None,
    **detect: Any,
) -> Report:
    """The engine on a clip; 8-bit crf 0 is lossless: what is decoded from the output is what the stages made."""
    weights = {"weights": str(home)}
    options: dict[str, dict[str, Any]] = {
        "detect": {**weights, **detect},
        "wav2lip": weights,
        "paste": {"crf": 0},
    }
    rows = [{"id": "clip", "video": str(clip[0]), "speech": str(clip[1]), "output": str(folder / "out.mp4")}]
    how: dict[str, Any] = {
        "profile": chosen or profile(segment_frames),
        "options": options,
        "keep_segments": True,
        "watermark": {"mode": "off"},
    }
    report = run(
        rows, run_dir=str(folder), engine="wav2lip", runner="ray" if ray else "local", cache=False, **how
    )
    assert not report.failed, report.failed
    return report


def planes(video: Path) -> list[np.ndarray]:
    """Each frame's samples, Y', Cb and Cr in one row."""
    info = probe_video(str(video))
    return [
        np.concatenate([plane.ravel() for plane in frame.samples()])
        for frame in read_frames(str(video), 0, info.n_frames, info)
    ]


def original(
    clip: tuple[Path, Path], home: Path, pads: Box = (0, 10, 0, 0), smooth: bool = True
) -> list[tuple[Box, np.ndarray]]:
    """Wav2Lip's inference as one loop over all frames: a box y1, y2, x1, x2 and the BGR face pasted there,
    for each frame that it renders.

    From the description in docs/evaluation.md and docs/networks.md; it shares the detector's network and the
    mel-spectrogram with the stages, which tests of their own hold against the original.
    """
    info = probe_video(str(clip[0]))
    frames = [
        np.ascontiguousarray(frame.rgb()[..., ::-1])
        for frame in read_frames(str(clip[0]), 0, info.n_frames, info)
    ]
    mel = mel_spectrogram(load_audio(str(clip[1]), 16000))
    chunks, i = [], 0
    while True:
        start = int(i * (80.0 / RATE))
        if start + 16 > mel.shape[1]:
            chunks.append(mel[:, mel.shape[1] - 16 :])
            break
        chunks.append(mel[:, start : start + 16])
        i += 1
    frames = frames[: len(chunks)]
    detectors = NetworkDetectors(shared_networks("cpu", str(home)))
    boxes = []
    for frame in frames:
        x1, y1, x2, y2 = np.clip(detectors.boxes(frame[..., ::-1])[0, :4], 0, None).astype(int)
        top, bottom, left, right = pads
        boxes.append(
            [
                max(0, x1 - left),
                max(0, y1 - top),
                min(frame.shape[1], x2 + right),
                min(frame.shape[0], y2 + bottom),
            ]
        )
    track = np.array(boxes)
    for k in range(len(track) if smooth else 0):
        track[k] = np.mean(track[len(track) - 5 :] if k + 5 > len(track) else track[k : k + 5], axis=0)
    net = load("wav2lip", registry=Networks(weights=str(home)).registry)
    made: list[tuple[Box, np.ndarray]] = []
    for frame, chunk, (x1, y1, x2, y2) in zip(frames, chunks, track.tolist()):
        face = cv2.resize(frame[y1:y2, x1:x2], (96, 96))
        masked = face.copy()
        masked[48:] = 0
        pair = np.concatenate((masked, face), axis=2) / 255.0
        with torch.inference_mode():
            answer = net(
                torch.FloatTensor(chunk[None, None]), torch.FloatTensor(pair.transpose(2, 0, 1)[None])
            )
        drawn = (answer[0].numpy().transpose(1, 2, 0) * 255.0).astype(np.uint8)
        made.append(((y1, y2, x1, x2), cv2.resize(drawn, (x2 - x1, y2 - y1))))
    return made


def check_against(made: list[tuple[Box, np.ndarray]], clip: tuple[Path, Path], output: Path) -> None:
    """The output's frames are the source's with these faces in these boxes; all other samples are untouched."""
    result = list(read_frames(str(output), 0, len(made)))
    for k, frame in enumerate(read_frames(str(clip[0]), 0, len(made))):
        (y1, y2, x1, x2), face = made[k]
        own = [plane.copy() for plane in frame.samples()]
        frame.paste(
            (x1, y1, x2, y2), np.ascontiguousarray(face[..., ::-1]), np.ones(face.shape[:2], np.float32)
        )
        for step, before, expected, actual in zip(
            (1, 2, 2), own, frame.samples(), result[k].samples(), strict=True
        ):
            difference = np.abs(actual.astype(int) - expected)
            assert difference.max() <= 4, (
                "another box or another face"
            )  # a face that rounds the other way moves Y'CbCr by 1 or 2
            assert difference.mean() < 0.1
            outside = np.ones(before.shape, bool)
            outside[y1 // step : -(-y2 // step), x1 // step : -(-x2 // step)] = False
            assert (actual[outside] == before[outside]).all()
            assert (actual != before).sum() > 0.5 * (~outside).sum()


def test_equals_a_plain_loop_of_the_original_for_any_segment_length(
    tmp_path: Path, home: Path, clip: tuple[Path, Path]
) -> None:
    report = dub(tmp_path / "whole", clip, home, face="best")
    assert report.records[0]["notes"] == []
    made = original(clip, home)
    assert len(made) == FRAMES
    assert len({box for box, _ in made}) > 3, "the box must move for the smoothing to show"
    check_against(made, clip, tmp_path / "whole" / "out.mp4")
    whole = planes(tmp_path / "whole" / "out.mp4")
    dub(tmp_path / "cut", clip, home, segment_frames=2, face="best")
    assert all((a == b).all() for a, b in zip(planes(tmp_path / "cut" / "out.mp4"), whole, strict=True))


def test_pads_and_nosmooth_are_the_originals(tmp_path: Path, home: Path, clip: tuple[Path, Path]) -> None:
    dub(tmp_path, clip, home, face="best", pads=(3, 0, 5, 7), smooth=False)
    check_against(original(clip, home, pads=(3, 0, 5, 7), smooth=False), clip, tmp_path / "out.mp4")


def test_static_takes_the_first_frames_box_for_all(
    tmp_path: Path, home: Path, clip: tuple[Path, Path]
) -> None:
    dub(tmp_path / "static", clip, home, segment_frames=3, face="best", static=True)
    (y1, y2, x1, x2), _ = original(clip, home, smooth=False)[0]
    dub(tmp_path / "boxed", clip, home, box=(x1, y1, x2, y2))
    pairs = zip(planes(tmp_path / "static" / "out.mp4"), planes(tmp_path / "boxed" / "out.mp4"), strict=True)
    assert all((a == b).all() for a, b in pairs)


def changed(clip: Path, output: Path) -> list[bool]:
    """Frames that differ from the source's in any sample, bool[T]."""
    return [bool((a != b).any()) for a, b in zip(planes(clip), planes(output), strict=True)]


def test_frames_without_a_face_keep_their_own_mouth_and_that_is_said(tmp_path: Path, home: Path) -> None:
    columns = (70, 70, None, None, 100, 100, None)
    clip = (
        write_clip(tmp_path / "gaps.mp4", views(*columns)),
        make_speech(tmp_path / "speech.wav", len(columns) / RATE),
    )
    report = dub(tmp_path / "run", clip, home, segment_frames=2)
    assert report.records[0]["notes"] == [NO_FACE]
    assert changed(clip[0], tmp_path / "run" / "out.mp4") == [x is not None for x in columns]
    trace = RunDirectory(str(tmp_path / "run")).read_trace(report.records[0])
    assert trace is not None
    (shot,) = trace["shots"]
    assert [one["reason"] for one in shot["passed"]] == ["no face", "no face"]
    passed = {metric["name"]: metric["value"] for metric in report.records[0]["metrics"]}
    assert passed["passed_no_face"] == 3
    (tmp_path / "run" / "out.mp4").unlink()
    again = dub(tmp_path / "run", clip, home, segment_frames=2)
    assert (again.computed, again.reused) == (0, 4)
    assert again.records[0]["notes"] == ["computed again: the output is gone", NO_FACE], (
        "a run that goes on from committed segments says it too"
    )


def test_shots_without_the_chosen_person_are_left_alone(tmp_path: Path, home: Path) -> None:
    """The second shot has a mark that the detector takes for a face, and nobody whom the planner knows."""
    ramp = np.linspace(0, 120, SIZE[0]).astype(np.uint8)[None, :, None].repeat(SIZE[1], 0).repeat(3, 2)
    pictures = views(*[70] * 6) + [marked(ramp, 70, 70)] * 6
    clip = write_clip(tmp_path / "two.mp4", pictures), make_speech(tmp_path / "speech.wav", 12 / RATE)
    assert dub(tmp_path / "run", clip, home).records[0]["notes"] == [NO_FACE]
    assert changed(clip[0], tmp_path / "run" / "out.mp4") == [True] * 6 + [False] * 6
    assert dub(tmp_path / "best", clip, home, face="best").records[0]["notes"] == []
    assert changed(clip[0], tmp_path / "best" / "out.mp4") == [True] * 12


def test_a_speech_that_ends_leaves_the_rest_of_the_video(
    tmp_path: Path, home: Path, clip: tuple[Path, Path]
) -> None:
    short = clip[0], make_speech(tmp_path / "speech.wav", 3 / RATE)
    dub(tmp_path / "run", short, home, box=(40, 30, 140, 150))
    assert changed(clip[0], tmp_path / "run" / "out.mp4") == [True] * 3 + [False] * (FRAMES - 3)


def test_ray_gives_the_same_bytes(
    tmp_path: Path, home: Path, clip: tuple[Path, Path], ray_session: Any
) -> None:
    box = (40, 30, 140, 150)
    dub(tmp_path / "local", clip, home, segment_frames=3, box=box)
    dub(tmp_path / "ray", clip, home, ray=True, chosen=profile(3, pools=2), box=box)
    assert without_signature(tmp_path / "ray" / "out.mp4") == without_signature(
        tmp_path / "local" / "out.mp4"
    )


def test_command_line(
    tmp_path: Path, home: Path, clip: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dubbed.mp4"
    settings = [f"wav2lip.weights={home}", "detect.box=40,30,140,150", "paste.crf=0"]
    engine = ["--engine", "wav2lip", *(word for setting in settings for word in ("--set", setting))]
    assert (
        cli.main(["dub", str(clip[0]), str(clip[1]), "-o", str(out), "--runner", "local", "--quiet", *engine])
        == 0
    )
    assert len(planes(out)) == FRAMES
    assert cli.main(["stages", "--engine", "wav2lip"]) == 0
    table = capsys.readouterr().out
    assert "operators.wav2lip.wav2lip_stage:Wav2LipStage" in table
    assert "−4 +4" in table


def test_without_weights_nothing_runs_and_the_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "empty"))
    rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": str(tmp_path / "out.mp4")}]
    named = r"engine wav2lip: 2 model files missing[\s\S]*s3fd-619a316812\.pth[\s\S]*wav2lip_gan\.pth[\s\S]*retalk models pull"
    with pytest.raises(UsageError, match=named):
        run(rows, run_dir=str(tmp_path / "run"), engine="wav2lip", profile=profile(50), runner="local")
    assert not (tmp_path / "out.mp4").exists()
    assert not (tmp_path / "run").exists()


def test_a_box_outside_the_picture_fails_the_title_with_its_name(
    tmp_path: Path, home: Path, clip: tuple[Path, Path]
) -> None:
    rows = [{"id": "a", "video": str(clip[0]), "speech": str(clip[1]), "output": str(tmp_path / "out.mp4")}]
    options: dict[str, dict[str, Any]] = {
        "detect": {"box": (0, 0, 500, 90)},
        "wav2lip": {"weights": str(home)},
    }
    report = run(
        rows,
        run_dir=str(tmp_path / "run"),
        engine="wav2lip",
        profile=profile(50),
        options=options,
        runner="local",
    )
    assert "astronaut.mp4: box [0, 0, 500, 90] leaves the picture of 192x160" in report.failed[0]["error"]


def test_gpu_profiles_run_the_networks_on_their_gpus() -> None:
    engine = resolve_engine("wav2lip")
    for name in ("node-8gpu", "autoscaling"):
        placed = load_profile(name).place("wav2lip", engine.names, engine.like)
        devices = {stage: pool.device for pool, stages in placed for stage in stages}
        assert devices == {"detect": "cuda", "wav2lip": "cuda", "paste": "cpu"}


def test_every_option_says_what_it_means() -> None:
    for spec in Engine(load_engine("wav2lip")).stages:
        assert all(option_help(type(spec.options)).values()), spec.name
