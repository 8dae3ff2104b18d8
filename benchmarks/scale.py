"""Cost and memory of the graph itself as catalogues and titles grow.

Usage: python -m benchmarks.scale [--only rows|driver|requests|length|skew|cache] [--rows 2500,5000,10000] [--titles 100000]

rows    manifests of one-second titles through stages that do nothing: seconds to the first finished output, CPU time of the driver's
        process for a segment, and how both grow
driver  the driver's own work for --titles titles without Ray: CPU time and memory for every 10,000 (`benchmarks.scale_driver`)
requests  calls to the storage that one more title costs (`benchmarks.scale_requests`)
length  a title of one minute and one of ten, 1080p, on real frames: peak memory of driver and workers, peak of the object store, spilling
skew    one long title among short ones: how busy the pools are
cache   bytes of cached analysis, and what a further language costs with it
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.scale_driver import driver
from benchmarks.scale_footage import carphone, encoded_segment, looped, short_title, upscaled, write_video
from benchmarks.scale_requests import requests
from operators.media.probe import probe_video
from pipelines.engine.config import EngineConfig, ProfileConfig, load_profile
from pipelines.engine.profile_parts import CacheConfig, EnginePools, PoolConfig
from pipelines.runner import Report, run
from tests.pipelines.conftest import make_speech

STAGES = "benchmarks.scale_stages"
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(PARTS), default=None)
    parser.add_argument("--rows", default="2500,5000,10000", help="lengths of the manifests")
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


# --- rows ---------------------------------------------------------------------------------------------------
def rows(folder: Path, options: argparse.Namespace) -> None:
    """Manifests of growing length through no-op stages."""
    from pipelines.execution.ray_session import ray_session

    video, speech = short_title(folder)
    stored = encoded_segment(folder, video)
    engine = EngineConfig.model_validate(
        {
            "name": "no-op",
            "find_faces": False,
            "detect_shots": False,
            "stages": [
                {"stage": f"{STAGES}:Look"},
                {"stage": f"{STAGES}:Store", "options": {"stored": str(stored)}},
            ],
        }
    )
    print(
        "rows: titles | first output s | whole run s | driver CPU s | ms a segment | of it Ray's scheduler: s, steps, ms a step"
        " | driver MiB at each tenth of the run | load"
    )
    with ray_session(512):
        for count in [int(text) for text in options.rows.split(",")]:
            manifest = folder / f"{count}.jsonl"
            with manifest.open("w") as file:
                for number in range(count):
                    row = {
                        "id": f"title-{number:05d}",
                        "video": str(video),
                        "speech": str(speech),
                        "output": f"out/{number:05d}.mp4",
                        "audio": "keep",
                    }
                    file.write(json.dumps(row) + "\n")
            first = FirstFile(folder / f"run-{count}" / "out")
            cpu, began = time.process_time(), time.monotonic()
            with SchedulerSteps() as steps, DriverMemory() as memory:
                report = run(
                    str(manifest),
                    run_dir=str(folder / f"run-{count}"),
                    engine=engine,
                    profile=no_op_profile(),
                    runner="ray",
                )
            spent, whole = time.process_time() - cpu, time.monotonic() - began
            first.stop()
            assert_done(report, count)
            ray_cost = f"{steps.seconds:.1f}, {steps.count}, {steps.seconds / max(1, steps.count) * 1000:.1f}"
            figures = (
                f"{first.seconds:.1f} | {whole:.1f} | {spent:.1f} | {spent / count * 1000:.2f} | {ray_cost}"
            )
            print(f"rows: {count} | {figures} | {memory.tenths()} | {os.getloadavg()[0]:.1f}", flush=True)


class DriverMemory:
    """Context manager: memory that this process has for itself, once a second."""

    def __init__(self) -> None:
        self._sizes: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> DriverMemory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self._sizes.append(private_memory(os.getpid()) / MIB)

    def tenths(self) -> str:
        """Mebibytes at each tenth of the time watched."""
        last = len(self._sizes) - 1
        return " ".join(f"{self._sizes[last * k // 10]:.0f}" for k in range(11)) if last >= 0 else ""


class SchedulerSteps:
    """Context manager: CPU seconds and number of the steps of Ray Data's scheduler, which polls ten times
    a second in any case.
    """

    def __init__(self) -> None:
        self.seconds, self.count = 0.0, 0

    def __enter__(self) -> SchedulerSteps:
        from ray.data._internal.execution.streaming_executor import StreamingExecutor

        self._of, self._step = StreamingExecutor, StreamingExecutor._scheduling_loop_step

        def step(executor: Any, *arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return self._step(executor, *arguments)
            finally:
                self.seconds, self.count = self.seconds + time.thread_time() - began, self.count + 1

        StreamingExecutor._scheduling_loop_step = step
        return self

    def __exit__(self, *error: object) -> None:
        self._of._scheduling_loop_step = self._step


def no_op_profile() -> ProfileConfig:
    """A node's pools and segment lengths, with fractions of a CPU that any machine has."""
    small = {"num_cpus": 0.25, "in_flight": 2}
    pools = [
        PoolConfig(name="first", stages=["look"], size=2, **small),
        PoolConfig(name="rest", size=2, **small),
    ]
    return ProfileConfig(
        name="scale",
        segment_frames=250,
        plan=PoolConfig(name="plan", size=2, **small),
        pools=pools,
        watchdog_seconds=300,
    )


def assert_done(report: Report, count: int) -> None:
    """Refuse the figures of a run that failed."""
    if report.failed or len(report.records) != count:
        raise SystemExit(
            f"{len(report.failed)} of {count} titles failed: {report.failed[0]['error'] if report.failed else ''}"
        )


class FirstFile:
    """Seconds until a folder holds a finished .mp4, watched by a thread."""

    def __init__(self, folder: Path) -> None:
        self.seconds = float("nan")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(folder, time.monotonic()), daemon=True)
        self._thread.start()

    def _watch(self, folder: Path, began: float) -> None:
        while not self._stop.wait(0.1):
            if folder.is_dir() and any(
                name.endswith(".mp4") and not name.startswith(".") for name in os.listdir(folder)
            ):
                self.seconds = time.monotonic() - began
                return

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


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


class Watch:
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
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peaks["usual"] = statistics.quantiles(self._stores, n=20)[-1]

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            own, workers = (
                private_memory(os.getpid()),
                [private_memory(pid) for pid in ray_workers(os.getpid())],
            )
            stats = self._store()
            now = {
                "driver": own,
                "worker": max(workers, default=0),
                "workers": sum(workers),
                "store": stats.object_store_bytes_used,
            }
            now["spilled"] = stats.spilled_bytes_total
            self._stores.append(now["store"])
            self.peaks = {name: max(peak, now[name]) for name, peak in self.peaks.items()}


def private_memory(pid: int) -> float:
    """Resident bytes of a process that are not shared memory, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    fields = {
        name: float(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if value.endswith("kB")
    }
    return fields.get("RssAnon", 0) + fields.get("RssFile", 0)


def ray_workers(ancestor: int) -> list[int]:
    """Processes of Ray's actors below a process."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    for pid in parents:
        above = pid
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor and pid != ancestor and command(pid).startswith("ray::"):
            found.append(pid)
    return found


def command(pid: int) -> str:
    """Command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


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
    "driver": driver,
    "requests": requests,
    "length": length,
    "skew": skew,
    "cache": cache,
}

if __name__ == "__main__":
    main()
