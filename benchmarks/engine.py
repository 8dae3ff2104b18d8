"""Speed of the neural engine against the original's plain loop, in one run, on one clip, with made-up weights.

    python -m benchmarks.engine [--frames 3] [--size 640x360] [--video CLIP.mp4]

Three runs over the same frames: the loop (`benchmarks.reference_loop`: original order, batch sizes and repeated work, networks in exact
form), the engine's parity mode and its default mode, both through the graph's plain loop. Made-up weights detect nothing: where the
original's detectors would run, they run, and the answers are taken from dlib (so the loop is spared the decoding of their maps). Networks
are loaded before the clock starts. CPU seconds are printed beside wall seconds: on a machine with other work they are the fairer figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from benchmarks.reference_loop import Record, reference_loop
from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.retalk import parity_stages, quads
from operators.retalk.detectors import NetworkDetectors, RecordedDetectors
from operators.retalk.nets import Compute, Networks, fast, shared_networks
from operators.retalk.source import load_expressions, standard_points
from pipelines.config import PoolConfig, ProfileConfig, load_engine
from pipelines.dub import run
from tests.retalk_home import NESTINGS, made_up, make_home, standard_landmarks

STAGES = ("detect", "recon3d", "dnet", "lnet", "enet", "blend")
#: Networks as the stages ask for them.
LOADED: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in ("face3d", "dnet", "lnet", "gpen", "parsenet")),
    ("enet", {"low_res": False}),
    ("gfpgan", {"file": "GFPGANv1.3.pth"}),
)
DETECTORS = ("s3fd", "fan", "retinaface")


class CostedDetectors(RecordedDetectors):
    """Every question is put to the network it would be put to, and answered from the recording."""

    def __init__(self, path: str, real: NetworkDetectors) -> None:
        super().__init__(path, real)
        self.real = real

    def source_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        self.real.s3fd_maps(rgb)
        net = self.real.networks.module("fan")
        with torch.inference_mode():
            net(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255)
        return super().source_landmarks(index, rgb)

    def enhanced_landmarks(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        self.source_landmarks(index, bgr)
        return super().enhanced_landmarks(index, bgr)

    def face_box(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        self.real.s3fd_maps(bgr)
        return super().face_box(index, bgr)

    def reference_faces(self, index: int, bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.real.retinaface_maps(bgr)
        return super().reference_faces(index, bgr)

    def final_faces(self, out: int, bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.real.retinaface_maps(bgr)
        return super().final_faces(out, bgr)

    def restoration_points(self, out: int, bgr: np.ndarray) -> np.ndarray | None:
        self.real.retinaface_maps(bgr)
        return super().restoration_points(out, bgr)


def make_clip(folder: Path, frames: int, size: tuple[int, int]) -> Path:
    """A clip of scikit-image's astronaut under a moving camera, 25 fps."""
    import skimage.data

    width, height = size
    head = cv2.resize(skimage.data.astronaut()[:288, 60:380], None, fx=height / 288, fy=height / 288, interpolation=cv2.INTER_CUBIC)
    canvas = cv2.copyMakeBorder(head, 0, 0, width, width, cv2.BORDER_REFLECT)
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=width, height=height, pix_fmt="yuv420p", options={"crf": "12"})
        for index in range(frames):
            x = width // 2 + head.shape[1] // 2 + index
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(canvas[:height, x : x + width]), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_speech(folder: Path, seconds: float) -> Path:
    """Noise that swells and fades four times a second."""
    t = np.arange(int(16000 * seconds)) / 16000
    noise = np.random.default_rng(0).normal(0, 0.15, len(t)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    with wave.open(str(folder / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((noise * 32767).astype("<i2").tobytes())
    return folder / "speech.wav"


def record_answers(folder: Path, frames: np.ndarray) -> Path:
    """What the original's detectors would say of frames uint8[T, h, w, 3] RGB, from dlib's landmarks."""
    real = NetworkDetectors(Networks())
    found = [real.clip_landmarks(i, frame) for i, frame in enumerate(frames)]
    if any(points is None for points in found):
        raise SystemExit("benchmark: dlib finds no face in some frame; choose another clip")
    landmarks = np.stack(found).astype(np.float32)
    height, width = frames.shape[1:3]
    y1, y2, x1, x2 = quads.clip_crop(landmarks[0], width, height).box
    inside = (landmarks - [x1, y1]) * [256 / (x2 - x1), 256 / (y2 - y1)]

    def boxes(points: np.ndarray) -> np.ndarray:
        return np.concatenate([points.min(1), points.max(1), np.ones((len(points), 1))], axis=1).astype(np.float32)

    def five(points: np.ndarray) -> np.ndarray:
        eyes = [points[:, 36:42].mean(1), points[:, 42:48].mean(1)]
        return np.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], 1).astype(np.float32)

    path = folder / "recorded.npz"
    np.savez(
        path,
        clip_landmarks=landmarks.astype(np.int64)[:1],
        source_landmarks=inside.astype(np.float32),
        enhanced_landmarks=inside.astype(np.float32),
        face_boxes=boxes(landmarks)[:, :4].astype(np.int64),
        reference_boxes=boxes(inside),
        reference_points=five(inside),
        final_boxes=boxes(landmarks),
        final_points=five(landmarks),
        restoration_points=five(landmarks),
    )
    return path


def timed_engine(
    name: str, folder: Path, video: Path, speech: Path, options: dict[str, dict[str, Any]]
) -> tuple[float, float, dict[str, float]]:
    """Wall and CPU seconds of a run, and wall seconds of each stage."""
    profile = ProfileConfig(name="benchmark", segment_frames=50, pools=[PoolConfig(name="all", size=1, num_cpus=torch.get_num_threads())])
    rows = [{"id": "clip", "video": str(video), "speech": str(speech), "output": str(folder / f"{name}.mp4")}]
    wall, cpu = time.perf_counter(), time.process_time()
    report = run(
        rows, run_dir=str(folder / name), engine=load_engine(name), profile=profile, options=options, ray=False, keep_segments=True
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if report.failed:
        raise SystemExit(f"benchmark: {name}: {report.failed[0]['error']}\n{report.failed[0].get('traceback', '')}")
    seconds: dict[str, float] = {}
    for receipt in (folder / name / "receipts").rglob("*.json"):
        for stage, value in json.loads(receipt.read_text()).get("seconds", {}).items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    return wall, cpu, seconds


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--video", help="a clip of a face instead of the astronaut; its first frames are used")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--home", help="model files made by an earlier run; made and deleted otherwise")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        measure(arguments, Path(temporary))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Make the inputs, run the three, print the table."""
    home = Path(arguments.home) if arguments.home else make_models(folder)
    size: Any = tuple(int(v) for v in arguments.size.split("x"))
    video = cut_clip(folder, arguments.video, arguments.frames) if arguments.video else make_clip(folder, arguments.frames, size)
    info = probe_video(str(video))
    frames = np.stack([frame.rgb() for frame in read_frames(str(video), 0, arguments.frames, info)])
    speech = make_speech(folder, arguments.frames / float(info.average_rate) + 0.3)
    recorded = record_answers(folder, frames)
    exact, fast = Networks(Compute(exact=True), weights=str(home)), shared_networks("cpu", str(home))
    for name, options in LOADED:
        exact.module(name, **options)
        fast.module(name, **options)
    for networks in (exact, fast):
        for name in DETECTORS:
            networks._modules[f"{name} None []"] = detector(name, networks)
    loop, walls, cpus = loop_run(exact, recorded, frames, speech, info, arguments.frames)
    results = [("loop", walls, cpus, loop.seconds)]
    made = parity_stages.make_detectors
    parity_stages.make_detectors = lambda path, networks: CostedDetectors(path, NetworkDetectors(networks))  # type: ignore[assignment]
    options = {stage: {"recorded": str(recorded), "weights": str(home)} for stage in STAGES}
    results.append(("parity", *timed_engine("retalk-parity", folder, video, speech, options)))
    parity_stages.make_detectors = made
    options = {stage: {"weights": str(home)} for stage in ("recon3d", "dnet", "lnet", "enet")}
    results.append(("default", *timed_engine("retalk", folder, video, speech, options)))
    report(results, arguments, (info.width, info.height))


def make_models(folder: Path) -> Path:
    """A home of made-up weights."""
    five = np.array([[-0.31, 0.3, 0.2], [0.31, 0.3, 0.2], [0, 0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]])
    files = [file for file in NESTINGS if file != "30_net_gen.pth"]
    return make_home(folder / "home", files, np.linspace(-1, 1, 64).astype(np.float32), standard_landmarks(five))


def detector(name: str, networks: Networks) -> torch.nn.Module:
    """A detector with made-up weights, in the form of `networks`."""
    from retalk_models import build

    net = build(name)
    net.load_state_dict(made_up(name))
    return net if networks.compute.exact else fast(net, name, networks.compute)


def cut_clip(folder: Path, video: str, frames: int) -> Path:
    """The first frames of a video, as a file of its own."""
    from operators.media.writer import EncoderOptions, encode_segment

    info = probe_video(video)
    pairs = ((frame, frame.pts) for frame in read_frames(video, 0, frames, info))
    encode_segment(str(folder / "clip.mp4"), pairs, info, EncoderOptions(crf=10))
    return folder / "clip.mp4"


def loop_run(exact: Networks, recorded: Path, frames: np.ndarray, speech: Path, info: Any, most: int) -> tuple[Record, float, float]:
    """The original's loop, timed; reading and writing of the video, which the engines' runs include, it is spared."""
    detectors = CostedDetectors(str(recorded), NetworkDetectors(exact))
    expression, standard = load_expressions(exact.registry)["neutral"], standard_points(exact.registry)
    bgr, samples = np.ascontiguousarray(frames[..., ::-1]), load_audio(str(speech))
    wall, cpu = time.perf_counter(), time.process_time()
    record = reference_loop(bgr, samples, float(info.average_rate), exact, detectors, expression, standard, most=most)
    return record, time.perf_counter() - wall, time.process_time() - cpu


def report(results: list[tuple[str, float, float, dict[str, float]]], arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """Print the table."""
    n, machine = arguments.frames, f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}"
    print(f"\n{n} frames of {size[0]}x{size[1]}; {machine}")
    print("| run | wall s/frame | CPU s/frame | times the loop (wall) | (CPU) | share of each stage |\n|---|---|---|---|---|---|")
    _, base_wall, base_cpu, _ = results[0]
    for name, wall, cpu, seconds in results:
        total = sum(seconds.values())
        shares = ", ".join(f"{stage} {100 * value / total:.0f} %" for stage, value in sorted(seconds.items(), key=lambda s: -s[1]))
        print(f"| {name} | {wall / n:.2f} | {cpu / n:.2f} | {base_wall / wall:.2f} | {base_cpu / cpu:.2f} | {shares} |")


if __name__ == "__main__":
    main()
