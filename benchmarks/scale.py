"""What the graph itself costs, and what it holds, as catalogues and titles grow.

Usage: python -m benchmarks.scale [--only rows|length|skew|cache] [--rows 2500,5000,10000]

rows    manifests of one-second titles through stages that do nothing: seconds to the first finished output, CPU time of the driver's
        process for a segment, and how both grow
length  a title of one minute and one of ten, 1080p, on real frames: peak memory of driver and workers, peak of the object store, spilling
skew    one long title among short ones: how busy the pools are
cache   bytes of cached analysis, and what a further language costs with it
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.scale_footage import encoded_piece, short_title
from pipelines.config import EngineConfig, PoolConfig, ProfileConfig
from pipelines.dub import Report, run

STAGES = "benchmarks.scale_stages"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(PARTS), default=None)
    parser.add_argument("--rows", default="2500,5000,10000")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="retalk-scale-") as folder:
        for name in PARTS if options.only is None else [options.only]:
            PARTS[name](Path(folder) / name, options)


def machine() -> str:
    """What this ran on."""
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.processor()}, {cores} cores, Python {platform.python_version()}, load {load}"


# --- rows -------------------------------------------------------------------------------------------------------------------------
def rows(folder: Path, options: argparse.Namespace) -> None:
    """Manifests of growing length through no-op stages."""
    from pipelines.session import ray_session

    video, speech = short_title(folder)
    stored = encoded_piece(folder, video)
    engine = EngineConfig.model_validate(
        {
            "name": "no-op",
            "find_faces": False,
            "stages": [{"stage": f"{STAGES}:Look"}, {"stage": f"{STAGES}:Store", "options": {"stored": str(stored)}}],
        }
    )
    print("rows: titles | first output s | whole run s | driver CPU s | driver ms a segment | load")
    with ray_session(512):
        for count in [int(text) for text in options.rows.split(",")]:
            manifest = folder / f"{count}.jsonl"
            with manifest.open("w") as file:
                for number in range(count):
                    row = {"id": f"title-{number:05d}", "video": str(video), "speech": str(speech), "output": f"out/{number:05d}.mp4"}
                    file.write(json.dumps(row) + "\n")
            first = FirstFile(folder / f"run-{count}" / "out")
            cpu, began = time.process_time(), time.monotonic()
            report = run(str(manifest), run_dir=str(folder / f"run-{count}"), engine=engine, profile=no_op_profile())
            spent, whole = time.process_time() - cpu, time.monotonic() - began
            first.stop()
            assert_done(report, count)
            print(
                f"rows: {count} | {first.seconds:.1f} | {whole:.1f} | {spent:.1f} | {spent / count * 1000:.2f} | {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def no_op_profile() -> ProfileConfig:
    """A node's pools and segment lengths, with fractions of a CPU that any machine has."""
    small = {"num_cpus": 0.25, "in_flight": 2}
    pools = [PoolConfig(name="first", stages=["look"], size=2, **small), PoolConfig(name="rest", size=2, **small)]
    return ProfileConfig(name="scale", segment_frames=250, plan=PoolConfig(name="plan", size=2, **small), pools=pools, watchdog_seconds=300)


def assert_done(report: Report, count: int) -> None:
    """A figure of a run that failed would mean nothing."""
    if report.failed or len(report.records) != count:
        raise SystemExit(f"{len(report.failed)} of {count} titles failed: {report.failed[0]['error'] if report.failed else ''}")


class FirstFile:
    """Seconds until a folder holds a finished .mp4, watched by a thread."""

    def __init__(self, folder: Path) -> None:
        self.seconds = float("nan")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(folder, time.monotonic()), daemon=True)
        self._thread.start()

    def _watch(self, folder: Path, began: float) -> None:
        while not self._stop.wait(0.1):
            if folder.is_dir() and any(name.endswith(".mp4") and not name.startswith(".") for name in os.listdir(folder)):
                self.seconds = time.monotonic() - began
                return

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


PARTS: dict[str, Any] = {"rows": rows}

if __name__ == "__main__":
    main()
