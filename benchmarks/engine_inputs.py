"""Inputs of `benchmarks.engine`: a clip, speech, made-up weights, detectors that cost what the real ones do,
and counted products.
"""

from __future__ import annotations

import collections
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from operators.media.encoders import EncoderOptions
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from operators.retalk import oriented_crops
from operators.retalk.detectors import NetworkDetectors, RecordedDetectors
from operators.retalk.nets import Networks
from operators.retalk.network_runner import fast
from retalk_models import build
from retalk_models.inference.optimize import default_optimization, optimize
from tests.retalk_home import NESTINGS, made_up, make_home, standard_landmarks

#: Networks as the stages ask for them.
LOADED: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in ("face3d", "dnet", "lnet", "gpen", "parsenet")),
    ("enet", {"low_res": False}),
    ("gfpgan", {"file": "GFPGANv1.3.pth"}),
)
DETECTORS = ("s3fd", "fan", "retinaface")


class CostedDetectors(RecordedDetectors):
    """Detectors that run the real networks and answer from the recording."""

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


class Counted:
    """A network that records its calls, for `gmac`."""

    def __init__(
        self, net: Any, name: str, options: dict[str, Any], folded: bool, asked: collections.Counter[Any]
    ) -> None:
        self.net, self.about, self.asked = net, (name, tuple(sorted(options.items())), folded), asked

    def _note(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shapes = tuple(tuple(a.shape) if isinstance(a, torch.Tensor) else a for a in args)
        self.asked[(*self.about, method, shapes, tuple(sorted(kwargs.items())))] += 1

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._note("__call__", args, kwargs)
        return self.net(*args, **kwargs)

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._note(method, args, kwargs)
            return getattr(self.net, method)(*args, **kwargs)

        return call


class CountedNetworks:
    """While it is active, all networks of this process are `Counted`."""

    def __enter__(self) -> collections.Counter[Any]:
        self.real = real = Networks.module
        asked: collections.Counter[Any] = collections.Counter()

        def module(self: Networks, name: str, file: str | None = None, **options: Any) -> Any:
            return Counted(
                real(self, name, file=file, **options), name, options, not self.compute.exact, asked
            )

        Networks.module = module  # type: ignore[assignment,method-assign]
        return asked

    def __exit__(self, *_: object) -> None:
        Networks.module = self.real  # type: ignore[method-assign]


def gmac(asked: collections.Counter[Any]) -> float:
    """Thousand million multiply-accumulates of everything that was asked: convolutions and matrix products,
    without transforms.
    """
    total = 0.0
    for (name, options, folded, method, shapes, kwargs), count in asked.items():
        module = build(name, **dict(options))
        module = (optimize(module, default_optimization(name, "cpu")) if folded else module).to("meta")
        args = [torch.zeros(shape, device="meta") if isinstance(shape, tuple) else shape for shape in shapes]
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            getattr(module, method)(*args, **dict(kwargs))
        total += count * counter.get_total_flops() / 2e9
    return total


def make_clip(folder: Path, frames: int, size: tuple[int, int]) -> Path:
    """A clip of scikit-image's astronaut under a moving camera, 25 fps."""
    import skimage.data

    width, height = size
    head = cv2.resize(
        skimage.data.astronaut()[:288, 60:380],
        None,
        fx=height / 288,
        fy=height / 288,
        interpolation=cv2.INTER_CUBIC,
    )
    canvas = cv2.copyMakeBorder(head, 0, 0, width, width, cv2.BORDER_REFLECT)
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, width=width, height=height, pix_fmt="yuv420p", options={"crf": "12"}
        )
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
    """Return the answers of the original's detectors for frames uint8[T, h, w, 3] RGB, from dlib's landmarks."""
    real = NetworkDetectors(Networks())
    found = [real.clip_landmarks(i, frame) for i, frame in enumerate(frames)]
    if any(points is None for points in found):
        raise SystemExit("benchmark: dlib finds no face in some frame; choose another clip")
    landmarks = np.stack(found).astype(np.float32)
    height, width = frames.shape[1:3]
    y1, y2, x1, x2 = oriented_crops.clip_crop(landmarks[0], width, height).box
    inside = (landmarks - [x1, y1]) * [256 / (x2 - x1), 256 / (y2 - y1)]

    def boxes(points: np.ndarray) -> np.ndarray:
        return np.concatenate([points.min(1), points.max(1), np.ones((len(points), 1))], axis=1).astype(
            np.float32
        )

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


def make_models(folder: Path) -> Path:
    """A home of made-up weights."""
    five = np.array([[-0.31, 0.3, 0.2], [0.31, 0.3, 0.2], [0, 0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]])
    files = [file for file in NESTINGS if file != "30_net_gen.pth"]
    return make_home(
        folder / "home", files, np.linspace(-1, 1, 64).astype(np.float32), standard_landmarks(five)
    )


def detector(name: str, networks: Networks) -> torch.nn.Module:
    """A detector with made-up weights, in the form of `networks`."""

    def make() -> torch.nn.Module:
        net = build(name)
        net.load_state_dict(made_up(name))
        return net

    return make() if networks.compute.exact else fast(make, name, networks.compute, print)


def cut_clip(folder: Path, video: str, frames: int) -> Path:
    """The first frames of a video, as a file of its own."""
    info = probe_video(video)
    pairs = ((frame, frame.pts) for frame in read_frames(video, 0, frames, info))
    encode_segment(str(folder / "clip.mp4"), pairs, info, EncoderOptions(crf=10))
    return folder / "clip.mp4"
