"""Videos and speech made on the spot, a test engine, and one Ray for the whole session."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import pipelines.execution.ray_session
from pipelines.engine.config import EngineConfig, ProfileConfig
from pipelines.engine.profile_parts import PoolConfig

STAGES = "tests.pipelines.stages"


def make_video(
    path: Path,
    frames: int = 24,
    rate: int = 12,
    size: tuple[int, int] = (64, 48),
    scenes: int = 1,
    times: list[int] | None = None,
    sound: bool = True,
) -> Path:
    """A small H.264 video. Each scene has another colour and a bar that moves; `times` are presentation times
    in 1/(100 rate) s.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264",
            rate=rate,
            width=width,
            height=height,
            pix_fmt="yuv420p",
            options={"preset": "ultrafast"},
        )
        stream.time_base = stream.codec_context.time_base = Fraction(1, 100 * rate)
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(frames):
            scene = index * scenes // frames
            image = np.full(
                (height, width, 3),
                [(60, 90, 120), (200, 60, 40), (30, 160, 60), (220, 220, 90)][scene % 4],
                np.uint8,
            )
            image[:, index % (width - 8) : index % (width - 8) + 8] //= 2
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = times[index] if times else index * 100, Fraction(1, 100 * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            tone = (0.2 * np.sin(np.arange(int(16000 * frames / rate)) / 8)).astype(np.float32)
            sound_frame = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
            sound_frame.sample_rate = 16000
            container.mux(audio.encode(sound_frame))
            container.mux(audio.encode(None))
    return path


def make_speech(path: Path, seconds: float = 2.0, amplitude: float = 0.3) -> Path:
    """A 16 kHz mono WAV with a tone that swells, or silence with amplitude 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(16000 * seconds)) / 16000
    samples = amplitude * np.sin(2 * np.pi * 220 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def engine_config(
    *between: str, options: dict[str, dict[str, Any]] | None = None, **fields: Any
) -> EngineConfig:
    """The test engine: brightness, level, paint, with further stages where they belong."""
    per_segment = [name for name in between if name in ("Misbehave", "Broken", "WrongScalar")]
    per_dub = [name for name in between if name not in per_segment]
    names = ["Brightness", *per_segment, "Level", *per_dub, "Paint"]
    stages = [{"stage": f"{STAGES}:{name}", "options": (options or {}).get(name, {})} for name in names]
    return EngineConfig.model_validate(
        {"name": "test", "find_faces": False, "segments": {"kind": "frames"}, "stages": stages, **fields}
    )


def profile_config(pools: int = 2, segment_frames: int = 7, **fields: Any) -> ProfileConfig:
    """One, two or three pools over the test engine's stages."""
    splits = {
        1: [("all", [])],
        2: [("first", ["brightness"]), ("rest", [])],
        3: [("first", ["brightness", "misbehave"]), ("middle", ["level", "misbehave_dub"]), ("rest", [])],
    }
    made = [
        PoolConfig(name=name, stages=stages, size=1, num_cpus=0.2, in_flight=1)
        for name, stages in splits[pools]
    ]
    plan = PoolConfig(name="plan", size=1, num_cpus=0.2, in_flight=1)
    return ProfileConfig(
        name="test", segment_frames=segment_frames, plan=plan, pools=made, watchdog_seconds=400, **fields
    )


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.mp4 (24 frames, 2 s, one cut), b.mp4 (VFR), one.mp4 (one frame); short, exact and
    long.wav of 1, 2 and 3.3 s.
    """
    folder = tmp_path_factory.mktemp("footage")
    make_video(folder / "a.mp4", scenes=2)
    make_video(folder / "b.mp4", frames=20, times=[k * 100 + (37 * k) % 60 for k in range(20)], sound=False)
    make_video(folder / "one.mp4", frames=1, sound=False)
    for name, seconds in (("short", 1.0), ("exact", 2.0), ("long", 3.3)):
        make_speech(folder / f"{name}.wav", seconds)
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Any]:
    """One Ray of two CPUs for all tests of this folder."""
    os.environ.pop("RAY_ADDRESS", None)
    with pipelines.execution.ray_session.ray_session(200) as ray:
        yield ray
