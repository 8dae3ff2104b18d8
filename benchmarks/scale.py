"""Cost and memory of the graph itself as catalogues and titles grow.

Usage: python -m benchmarks.scale [--only rows|nodes|driver|requests|length|skew|cache] [--rows 2500,5000,10000] [--titles 100000]

rows    manifests of one-second titles through stages that do nothing: seconds to the first finished output, CPU time of the driver's
        process for a segment, in all and by thread, its memory for every 10,000, and how they grow
nodes   the same catalogue on one node and on many simulated ones (`benchmarks.scale_nodes`)
driver  the driver's own work for --titles titles without Ray: CPU time and memory for every 10,000 (`benchmarks.scale_driver`)
requests  calls to the storage that one more title costs (`benchmarks.scale_requests`)
length  a title of one minute and one of ten, 1080p, on real frames: peak memory of driver and workers, peak of the object store, spilling
skew    one long title among short ones: how busy the pools are
cache   bytes of cached analysis, and what a further language costs with it
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.scale_driver import driver
from benchmarks.scale_footage import carphone, looped, upscaled, write_video
from benchmarks.scale_memory import MIB, Sampler, private_memory, ray_workers
from benchmarks.scale_nodes import nodes
from benchmarks.scale_requests import requests
from benchmarks.scale_rows import STAGES, assert_done, rows
from operators.media.probe import probe_video
from pipelines.engine.config import EngineConfig, ProfileConfig, load_profile
from pipelines.engine.profile_parts import CacheConfig, EnginePools, PoolConfig
from pipelines.runner import run
from tests.pipelines.conftest import make_speech


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(PARTS), default=None)
    parser.add_argument("--rows", default="2500,5000,10000", help="lengths of the manifests")
    parser.add_argument("--nodes", default="1,8,32", help="sizes of the clusters of part nodes")
    parser.add_argument("--raylets", type=int, default=8, help="most raylets of part nodes")
    parser.add_argument("--catalogue", type=int, default=1000, help="titles of part nodes")
    parser.add_argument("--titles", type=int, default=100_000, help="of part driver")
    parser.add_argument("--minutes", default="1,10", help="lengths of the titles")
    parser.add_argument("--engine", choices=("cheap", "exemplar"), default="cheap", help="of part length")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="retalk-scale-") as folder:
        for name in PARTS if options.only is None else [options.only]:
            PARTS[name](Path(folder) / name, options)


def machine() -> str:
    """Return the machine's description."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.processor()}, {cores} cores, Python {platform.python_version()}, load {load}"


# --- length -------------------------------------------------------------------------------------------------
def length(folder: Path, options: argparse.Namespace) -> None:
    """The same pictures once a minute long and once ten minutes, each in a Ray and a process of its own."""
    short = write_video(folder / "short.mp4", 48, 12, (1920, 1080))
    if options.engine == "exemplar":
        short = upscaled(folder / "short.mp4", carphone(), 48, (1920, 1080))
    columns = "driver MiB | largest worker MiB | workers MiB | object store MiB | 95 % of the time below | spilled MiB | run s"
    print(f"length: {options.engine} | minutes | {columns}")
    peaks = []
    for minutes in [float(text) for text in options.minutes.split(",")]:
        video = looped(
            folder / f"{minutes:g}.mp4", short, round(minutes * 60 / float(probe_video(str(short)).duration))
        )
        speech = make_speech(folder / f"{minutes:g}.wav", minutes * 60)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(
                run_watched, (str(folder / f"run-{minutes:g}"), str(video), str(speech), options.engine)
            )
        peaks.append(peak)
        figures = " | ".join(
            f"{peak[name] / MIB:.0f}" for name in ("driver", "worker", "workers", "store", "usual", "spilled")
        )
        print(f"length: {options.engine} | {minutes:g} | {figures} | {peak['seconds']:.0f}", flush=True)
    ratios = ", ".join(
        f"{name} {peaks[-1][name] / max(1, peaks[0][name]):.2f}"
        for name in ("driver", "worker", "workers", "store", "usual")
    )
    print(f"length: {options.engine} | long / short: {ratios}")


def run_watched(run_dir: str, video: str, speech: str, engine: str) -> dict[str, float]:
    """Dub one title on a Ray of this process, and return the peaks; see `Watch`."""
    from pipelines.execution.ray_session import ray_session

    profile = load_profile("laptop")
    config: Any = engine
    if engine == "cheap":
        stages = [{"stage": f"{STAGES}:Scale"}, {"stage": f"{STAGES}:Paint"}]
        config = EngineConfig.model_validate(
            {"name": "cheap", "find_faces": False, "detect_shots": False, "stages": stages}
        )
        # As the laptop profile places the neural engine: results of the first pool go through the object store.
        analyse, finish = profile.pools
        pools = EnginePools(pools=[analyse.model_copy(update={"stages": ["scale"]}), finish])
        profile = profile.model_copy(update={"engines": {"cheap": pools}})
    began = time.monotonic()
    with ray_session(profile.store_mib) as ray, Watch(ray) as watch:
        row = {"id": "title", "video": video, "speech": speech, "output": "out.mp4", "audio": "keep"}
        assert_done(run([row], run_dir=run_dir, engine=config, profile=profile, runner="ray"), 1)
    return {**watch.peaks, "seconds": time.monotonic() - began}


class Watch(Sampler):
    """Context manager: peaks of memory while it lasts, in bytes, five times a second.

    ``driver``, ``worker`` (the largest) and ``workers`` (all together) count what a process has for itself,
    without the shared memory of the object store, which is ``store``; ``usual`` is its 95th percentile over
    time, since a single row shows in a peak; ``spilled`` counts bytes spilled to disk.
    """

    def __init__(self, ray: Any) -> None:
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        self._store = lambda: get_memory_info_reply(state).store_stats
        self.peaks = dict.fromkeys(("driver", "worker", "workers", "store", "spilled"), 0.0)
        self._stores: list[float] = []
        super().__init__(0.2)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.peaks["usual"] = statistics.quantiles(self._stores, n=20)[-1]

    def look(self) -> None:
        workers = [private_memory(pid) for pid in ray_workers(os.getpid())]
        stats = self._store()
        now = {
            "driver": private_memory(os.getpid()),
            "worker": max(workers, default=0),
            "workers": sum(workers),
            "store": stats.object_store_bytes_used,
            "spilled": stats.spilled_bytes_total,
        }
        self._stores.append(now["store"])
        self.peaks = {name: max(peak, now[name]) for name, peak in self.peaks.items()}


# --- skew ---------------------------------------------------------------------------------------------------
def skew(folder: Path, options: argparse.Namespace) -> None:
    """A title a hundred times as long as the others, last in the manifest. The stages sleep, so that the
    figures are the graph's.
    """
    from pipelines.execution.ray_session import ray_session

    second = write_video(folder / "second.mp4", 25, 25, (256, 256))
    film = looped(folder / "film.mp4", second, 100)
    speech, log = make_speech(folder / "speech.wav", 1.0), folder / "log"
    stages = [
        {"stage": f"{STAGES}:Scale", "options": {"wait": 0.002, "log": str(log)}},
        {"stage": f"{STAGES}:Paint", "options": {"wait": 0.02, "log": str(log)}},
    ]
    engine = EngineConfig.model_validate(
        {"name": "skew", "find_faces": False, "detect_shots": False, "stages": stages}
    )
    row = {"speech": str(speech), "audio": "keep"}
    rows = [{"id": f"short-{n}", "video": str(second), "output": f"{n}.mp4", **row} for n in range(100)]
    rows.append({"id": "film", "video": str(film), "output": "film.mp4", **row})
    small = {"num_cpus": 0.2, "in_flight": 2}
    pools = [
        PoolConfig(name="first", stages=["scale"], size=1, **small),
        PoolConfig(name="rest", size=4, **small),
    ]
    profile = ProfileConfig(
        name="skew",
        segment_frames=50,
        plan=PoolConfig(name="plan", size=1, **small),
        pools=pools,
        cache=CacheConfig(on=False),
    )
    with ray_session(512):
        assert_done(run(rows, run_dir=str(folder / "run"), engine=engine, profile=profile, runner="ray"), 101)
    spans = [(start, end) for stage, _, start, end in read_log(log) if stage == "paint"]
    begin, end = min(s for s, _ in spans), max(e for _, e in spans)
    busy = sum(e - s for s, e in spans)
    fifths = " ".join(f"{share:.0%}" for share in shares(spans, begin, end, 5))
    print(
        f"skew: 100 titles of 1 s and one of 100 s, 4 workers that sleep 20 ms a frame, over {end - begin:.1f} s of the last pool"
    )
    print(
        f"skew: {busy / (end - begin) / 4:.0%} busy, fifth by fifth {fifths}, load {os.getloadavg()[0]:.1f}"
    )


def shares(spans: list[tuple[float, float]], begin: float, end: float, parts: int) -> list[float]:
    """Return the utilisation of four workers in each part of a period."""
    step = (end - begin) / parts
    edges = [(begin + step * k, begin + step * (k + 1)) for k in range(parts)]
    return [sum(max(0.0, min(e, high) - max(s, low)) for s, e in spans) / step / 4 for low, high in edges]


def read_log(path: Path) -> list[tuple[str, str, float, float]]:
    """Stage, process, start and end of each call."""
    lines = (line.split() for line in path.read_text().splitlines())
    return [(stage, pid, float(start), float(end)) for stage, pid, start, end in lines]


# --- cache --------------------------------------------------------------------------------------------------
def cache(folder: Path, options: argparse.Namespace) -> None:
    """A title of the exemplar engine, then a further language with and without the cached analysis."""
    video = upscaled(folder / "title.mp4", carphone(), 120, (704, 576))
    speech = [make_speech(folder / f"{name}.wav", 4.0) for name in ("one", "two")]

    def dub(run_dir: str, count: int, cache: str | bool) -> float:
        dubs = [
            {"language": name, "speech": str(file), "output": f"{name}.mp4"}
            for name, file in zip(("deu", "fra"), speech[:count])
        ]
        began = time.process_time()
        row = {"id": "title", "video": str(video), "dubs": dubs}
        assert_done(
            run([row], run_dir=str(folder / run_dir), engine="exemplar", runner="local", cache=cache), count
        )
        return time.process_time() - began

    dub("warm", 1, False)
    first, more = dub("kept", 1, True), dub("kept", 2, True)
    dub("lost", 1, False)
    anew = dub("other", 2, False) - dub("single", 1, False)
    size = sum(file.stat().st_size for file in (folder / "kept" / "analysis").rglob("*.arrow"))
    print(
        f"cache: exemplar, 4 s of 704x576: {size / 120:.0f} bytes a frame, {size / 120 * 25 * 3600 / MIB:.0f} MiB an hour at 25 fps"
    )
    print(
        f"cache: CPU s: first language {first:.1f}, a further one later with the cache {more:.1f}; in the same run {anew:.1f}"
    )


PARTS: dict[str, Any] = {
    "rows": rows,
    "nodes": nodes,
    "driver": driver,
    "requests": requests,
    "length": length,
    "skew": skew,
    "cache": cache,
}

if __name__ == "__main__":
    main()
