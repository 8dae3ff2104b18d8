"""Speed of the neural engine against the original's plain loop, in one run, on one clip, with made-up
weights.

    python -m benchmarks.engine [--frames 3] [--size 1280x720] [--video CLIP.mp4] [--dubs 1 2 3] [--graph 8]

Three runs over the same frames: the loop (`benchmarks.reference_loop`: original order, batch sizes and
repeated work, networks in exact form), the engine's parity mode and its default mode, both through the
graph's plain loop. Made-up weights detect nothing: where the original's detectors would run, they run, and
the answers are taken from dlib (so the loop is spared the decoding of their maps). Networks are loaded before
the clock starts; the loop is spared reading and writing the video too. CPU seconds are printed beside wall
seconds: on a machine with other work they are the fairer figure.

``--dubs`` dubs the clip into so many languages at once in the default mode, for the cost of a further one.
``--graph`` runs so many segments of the clip through Ray in two pools of one thread each: wall time against the
time of the busiest pool.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engine_inputs import (
    DETECTORS,
    LOADED,
    CostedDetectors,
    CountedNetworks,
    cut_clip,
    detector,
    gmac,
    make_clip,
    make_models,
    make_speech,
    record_answers,
)
from benchmarks.networks import machine
from benchmarks.reference_loop import reference_loop
from operators.media.audio import load_audio
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.retalk import parity_stage
from operators.retalk.detectors import NetworkDetectors
from operators.retalk.nets import Networks, shared_networks
from operators.retalk.network_runner import Compute
from operators.retalk.source import load_expressions, standard_points
from pipelines.engine.config import ProfileConfig, load_engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.runner import run

STAGES = ("detect", "recon3d", "dnet", "lnet", "enet", "blend")
ANALYSIS = ("detect", "recon3d", "dnet")
Options = dict[str, dict[str, Any]]


class Measured:
    """One run: wall and CPU seconds, wall seconds of each stage, calls of the networks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stages: dict[str, float] = {}
        self.asked: collections.Counter[Any] = collections.Counter()

    def __enter__(self) -> Measured:
        self._counting = CountedNetworks()
        self.asked = self._counting.__enter__()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self._counting.__exit__(*error)


def receipts(folder: Path) -> list[tuple[float, dict[str, float]]]:
    """Return the time of each committed output segment and the wall seconds of its stages, in order of time."""
    found = [
        (path.stat().st_mtime, json.loads(path.read_text()).get("seconds", {}))
        for path in (folder / "receipts").rglob("*.json")
    ]
    return sorted(found, key=lambda entry: entry[0])


def dub(
    name: str, folder: Path, row: dict[str, Any], profile: ProfileConfig, options: Options, ray: bool = False
) -> None:
    """One run of an engine.

    Raises:
        SystemExit: a title failed.
    """
    rows = [{"id": "clip", **row}]
    runner = "ray" if ray else "local"
    report = run(
        rows,
        run_dir=str(folder),
        engine=load_engine(name),
        profile=profile,
        options=options,
        runner=runner,
        keep_segments=True,
        overwrite=True,
    )
    if report.failed:
        raise SystemExit(
            f"benchmark: {name}: {report.failed[0]['error']}\n{report.failed[0].get('traceback', '')}"
        )


def timed(label: str, name: str, folder: Path, row: dict[str, Any], options: Options) -> Measured:
    """`dub` in the plain loop, measured."""
    profile = ProfileConfig(
        name="benchmark",
        segment_frames=50,
        pools=[PoolConfig(name="all", size=1, num_cpus=torch.get_num_threads())],
    )
    with Measured(label) as measured:
        dub(name, folder / label, row, profile, options)
    seconds = collections.Counter[str]()
    for number, (_, stages) in enumerate(receipts(folder / label)):
        # Stages that run once per segment are in the receipt of each of its dubs.
        seconds.update(
            {stage: value for stage, value in stages.items() if not number or stage not in ANALYSIS}
        )
    measured.stages = dict(seconds)
    return measured


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument(
        "--video", help="a clip of a face instead of the astronaut; its first frames are used"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--home", help="model files made by an earlier run; made and deleted otherwise")
    parser.add_argument("--dubs", type=int, nargs="+", default=[], help="numbers of languages")
    parser.add_argument("--graph", type=int, default=0, help="segments to run through Ray")
    parser.add_argument("--only", choices=("default",), help="default: without the loop and the parity mode")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        measure(arguments, Path(temporary))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Make the inputs, run the chosen benchmarks, print the results."""
    home = Path(arguments.home) if arguments.home else make_models(folder)
    size: Any = tuple(int(v) for v in arguments.size.split("x"))
    video = (
        cut_clip(folder, arguments.video, arguments.frames)
        if arguments.video
        else make_clip(folder, arguments.frames, size)
    )
    info = probe_video(str(video))
    speech = make_speech(folder, arguments.frames / float(info.average_rate) + 0.3)
    print(
        f"\n{arguments.frames} frames of {info.width}x{info.height}; {machine('cpu')}, torch {torch.__version__}"
    )
    row = {"video": str(video), "speech": str(speech), "output": str(folder / "out.mp4")}
    plain = {stage: {"weights": str(home)} for stage in ("recon3d", "dnet", "lnet", "enet")}
    results = [] if arguments.only else originals(folder, home, row, info, arguments.frames)
    prepare(shared_networks("cpu", str(home)))
    results.append(timed("default", "retalk", folder, row, plain))
    table(results, arguments.frames)
    if arguments.dubs:
        languages(folder, row, plain, arguments.dubs)
    if arguments.graph:
        graph(folder, home, arguments.graph, size)


def prepare(networks: Networks) -> None:
    """Load all networks, the detectors with made-up weights."""
    for name, options in LOADED:
        networks.module(name, **options)
    for name in DETECTORS:
        networks._modules[f"{name} None []"] = detector(name, networks)


def originals(folder: Path, home: Path, row: dict[str, Any], info: VideoInfo, count: int) -> list[Measured]:
    """The loop, then the parity mode. Nothing of the engine's own settings is in force while the loop runs."""
    frames = np.stack([frame.rgb() for frame in read_frames(row["video"], 0, count, info)])
    recorded = record_answers(folder, frames)
    exact = Networks(Compute(exact=True), weights=str(home))
    prepare(exact)
    detectors = CostedDetectors(str(recorded), NetworkDetectors(exact))
    expression, standard = load_expressions(exact.registry)["neutral"], standard_points(exact.registry)
    bgr, samples = np.ascontiguousarray(frames[..., ::-1]), load_audio(row["speech"])
    with Measured("loop") as loop:
        record = reference_loop(
            bgr, samples, float(info.average_rate), exact, detectors, expression, standard, most=count
        )
    loop.stages = record.seconds
    del exact, detectors
    prepare(shared_networks("cpu", str(home)))
    real = parity_stage.make_detectors
    parity_stage.make_detectors = lambda path, networks: CostedDetectors(path, NetworkDetectors(networks))  # type: ignore[assignment]
    parity = timed(
        "parity",
        "retalk-parity",
        folder,
        row,
        {stage: {"recorded": str(recorded), "weights": str(home)} for stage in STAGES},
    )
    parity_stage.make_detectors = real
    return [loop, parity]


def table(results: list[Measured], frames: int) -> None:
    """Print the main table."""
    print(
        "| run | wall s/frame | CPU s/frame | GMAC/frame | times the loop (wall) | (CPU) | share of each stage |"
    )
    print("|---|---|---|---|---|---|---|")
    base = results[0]
    for result in results:
        total = sum(result.stages.values())
        shares = ", ".join(
            f"{stage} {100 * value / total:.0f} %"
            for stage, value in sorted(result.stages.items(), key=lambda s: -s[1])
        )
        cells = f"{result.wall / frames:.2f} | {result.cpu / frames:.2f} | {gmac(result.asked) / frames:.0f}"
        print(
            f"| {result.name} | {cells} | {base.wall / result.wall:.2f} | {base.cpu / result.cpu:.2f} | {shares} |",
            flush=True,
        )


def languages(folder: Path, row: dict[str, Any], options: Options, counts: list[int]) -> None:
    """Print the cost of N dubs of one video relative to one: the least of two runs each, by turns, since load
    only adds.
    """
    counts = sorted({1, *counts})
    spent: dict[int, list[float]] = {count: [] for count in counts}
    for turn in range(2):
        for count in counts:
            name = f"dubs{count}-{turn}"
            dubs = [
                {"language": f"l{n}", "speech": row["speech"], "output": str(folder / f"{name}-{n}.mp4")}
                for n in range(count)
            ]
            spent[count].append(
                timed(name, "retalk", folder, {"video": row["video"], "dubs": dubs}, options).cpu
            )
    print("| languages | CPU s, both runs | times one | goal 1 + 0.6 (N - 1) |\n|---|---|---|---|")
    for count in counts:
        both = " ".join(f"{seconds:.1f}" for seconds in spent[count])
        print(f"| {count} | {both} | {min(spent[count]) / min(spent[1]):.2f} | {1 + 0.6 * (count - 1):.1f} |")


def graph(folder: Path, home: Path, segments: int, size: tuple[int, int], frames: int = 4) -> None:
    """Segments through Ray: wall time against the busiest pool's time."""
    pools = [
        PoolConfig(name="analyse", stages=list(ANALYSIS), size=1, num_cpus=0.75, in_flight=2),
        PoolConfig(name="finish", size=1, num_cpus=0.75, in_flight=2),
    ]
    plan = PoolConfig(name="plan", size=1, num_cpus=0.5, in_flight=1)
    profile = ProfileConfig(
        name="graph", segment_frames=frames, store_mib=512, plan=plan, pools=pools, watchdog_seconds=3600
    )
    (folder / "long").mkdir()
    video = make_clip(folder / "long", segments * frames, size)
    speech = make_speech(folder / "long", segments * frames / 25 + 0.1)
    row = {"video": str(video), "speech": str(speech), "output": str(folder / "graph.mp4")}
    # The 26 frames around each segment that the coefficients need would be most of so short ones: without
    # D-Net there are none.
    options: Options = {stage: {"weights": str(home)} for stage in ("recon3d", "dnet", "lnet", "enet")}
    began = time.time()
    dub("retalk", folder / "graph", row, profile, options, ray=True)
    wall = time.time() - began
    done = receipts(folder / "graph")
    busy = {
        pool: [
            sum(value for stage, value in stages.items() if (stage in ANALYSIS) == (pool == "analyse"))
            for _, stages in done
        ]
        for pool in ("analyse", "finish")
    }
    saturated = max(busy, key=lambda pool: sum(busy[pool]))
    steady = (done[-1][0] - done[0][0]) / sum(busy[saturated][1:])
    print(
        f"graph: {segments} segments of {frames} frames, two pools; busy "
        + ", ".join(f"{p} {sum(v):.0f} s" for p, v in busy.items())
    )
    whole = wall / sum(busy[saturated])
    print(
        f"wall / {saturated}: {steady:.2f} from the first output segment to the last; {whole:.2f} with starting Ray and loading"
    )
    print(f"load average {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    main()
