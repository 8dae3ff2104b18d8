"""Catalogues of one-second titles through stages that do nothing: parts ``rows`` and, on several nodes, ``nodes`` of
`benchmarks.scale`.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scale_footage import encoded_segment, short_title
from benchmarks.scale_memory import MIB, Sampler, private_memory
from benchmarks.scale_threads import DriverThreads
from pipelines.engine.config import EngineConfig, ProfileConfig
from pipelines.engine.profile_parts import PoolConfig
from pipelines.runner import Report, run

STAGES = "benchmarks.scale_stages"


@dataclass(frozen=True)
class Catalogue:
    """Footage and engine of catalogues of any length, in a folder."""

    folder: Path
    video: Path
    speech: Path
    engine: EngineConfig

    @classmethod
    def made(cls, folder: Path) -> Catalogue:
        """Footage of one second, and an engine of no-op stages."""
        video, speech = short_title(folder)
        stored = encoded_segment(folder, video)
        stages = [
            {"stage": f"{STAGES}:Look"},
            {"stage": f"{STAGES}:Store", "options": {"stored": str(stored)}},
        ]
        names = {"name": "no-op", "find_faces": False, "detect_shots": False}
        return cls(folder, video, speech, EngineConfig.model_validate({**names, "stages": stages}))

    def manifest(self, count: int, name: str) -> Path:
        """A manifest of so many titles."""
        path = self.folder / f"{name}.jsonl"
        with path.open("w") as file:
            for number in range(count):
                row = {
                    "id": f"title-{number:06d}",
                    "video": str(self.video),
                    "speech": str(self.speech),
                    "output": f"out/{number:06d}.mp4",
                    "audio": "keep",
                }
                file.write(json.dumps(row) + "\n")
        return path

    def run(self, count: int, profile: ProfileConfig, name: str) -> Figures:
        """Dub so many titles on the Ray that this process is connected to."""
        manifest, run_dir = self.manifest(count, name), self.folder / f"run-{name}"
        first = FirstFile(run_dir / "out")
        cpu, began = time.process_time(), time.monotonic()
        with SchedulerSteps() as steps, DriverMemory() as memory, DriverThreads(count) as threads:
            report = run(
                str(manifest), run_dir=str(run_dir), engine=self.engine, profile=profile, runner="ray"
            )
        end, whole = time.process_time(), time.monotonic() - began
        first.stop()
        assert_done(report, count)
        return Figures(first.seconds, whole, end - cpu, end - first.cpu, steps, memory, threads)


@dataclass(frozen=True)
class Figures:
    """Figures of one run: seconds to the first output and in all, the driver's CPU seconds in all and after the
    first output, its memory and its threads.
    """

    first: float
    whole: float
    driver: float
    steady: float
    steps: SchedulerSteps
    memory: DriverMemory
    threads: DriverThreads


def rows(folder: Path, options: argparse.Namespace) -> None:
    """Manifests of growing length through no-op stages."""
    from pipelines.execution.ray_session import ray_session

    catalogue = Catalogue.made(folder)
    print(
        "rows: titles | first output s | whole run s | driver CPU s | ms a segment | after the first output"
        " | of it Ray's scheduler: s, steps, ms a step | driver MiB at each tenth of the run | load"
    )
    with ray_session(512):
        for count in [int(text) for text in options.rows.split(",")]:
            one = catalogue.run(count, no_op_profile(), str(count))
            steps, each = one.steps, 1000 / count
            columns = [
                *(f"{value:.1f}" for value in (one.first, one.whole, one.driver)),
                *(f"{value * each:.2f}" for value in (one.driver, one.steady)),
                f"{steps.seconds:.1f}, {steps.count}, {steps.seconds / max(1, steps.count) * 1000:.1f}",
                *(one.memory.tenths(), f"{os.getloadavg()[0]:.1f}"),
            ]
            print(f"rows: {count} | {' | '.join(columns)}", flush=True)
            print(f"rows: {count} | {one.threads.words()}", flush=True)


class DriverMemory(Sampler):
    """Context manager: memory that this process has for itself, once a second."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self._sizes: list[float] = []

    def look(self) -> None:
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
    """Seconds until a folder holds a finished .mp4, watched by a thread, and this process' CPU seconds then (``cpu``)."""

    def __init__(self, folder: Path) -> None:
        self.seconds, self.cpu = float("nan"), float("nan")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(folder, time.monotonic()), daemon=True)
        self._thread.start()

    def _watch(self, folder: Path, began: float) -> None:
        while not self._stop.wait(0.1):
            if folder.is_dir() and any(
                name.endswith(".mp4") and not name.startswith(".") for name in os.listdir(folder)
            ):
                self.seconds, self.cpu = time.monotonic() - began, time.process_time()
                return

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
