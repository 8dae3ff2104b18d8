"""Footage for `benchmarks/scale.py`, made on the spot."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import EncoderOptions, encode_segment


def write_speech(path: Path, seconds: float) -> Path:
    """A 16 kHz mono WAV with a tone that swells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clock = np.arange(int(16000 * seconds)) / 16000
    samples = 0.3 * np.sin(2 * np.pi * 220 * clock) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * clock))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def write_video(path: Path, frames: int, rate: int, size: tuple[int, int]) -> Path:
    """H.264 of a bar that moves through a grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "g": str(rate)}
        stream = container.add_stream("libx264", rate=rate, width=size[0], height=size[1], pix_fmt="yuv420p", options=options)
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
    return write_video(folder / "second.mp4", 25, 25, (64, 48)), write_speech(folder / "second.wav", 1.0)


def encoded_piece(folder: Path, video: Path) -> Path:
    """The video as the last stage of an engine would have encoded it."""
    info = probe_video(str(video))
    target = folder / "piece.mp4"
    frames = ((frame, frame.pts) for frame in read_frames(str(video), 0, info.n_frames, info))
    encode_segment(str(target), frames, info, EncoderOptions(crf=30, preset="ultrafast"))
    return target
