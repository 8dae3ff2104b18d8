"""The driver's own work for a large catalogue, without Ray: part ``driver`` of `benchmarks.scale`.

A manifest of one-second titles is read and checked; one title is planned by the real planner, and its plan and its
receipts are handed to the collector under each title's name, as they would come out of the graph; each dub ends in its
record, and plan and ledger are written. What Ray's scheduler costs on top is part ``rows`` of `benchmarks.scale`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.scale_footage import encoded_segment, short_title
from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import Engine
from pipelines.engine.rows import PLAN_ROW, SEGMENT, Row
from pipelines.engine.specs import PlanSpec
from pipelines.execution.assembly import record_of
from pipelines.execution.collector import Collector
from pipelines.manifest.reader import titles_of
from pipelines.manifest.titles import Title
from pipelines.planning.planner import Planner
from pipelines.planning.plans import DubPlan, TitlePlan, decode
from pipelines.preflight.checks import with_missing_files
from pipelines.state.coordinator import Coordinator
from pipelines.state.run_directory import RunDirectory

MIB = 1 << 20
#: Titles between two lines of figures.
STEP = 10_000
#: Titles between two looks of the progress display.
LOOK = 500


def name(number: int) -> str:
    """Id of a title; all have the same length."""
    return f"title-{number:07d}"


def write_manifest(path: Path, count: int, video: Path, speech: Path) -> Path:
    """A manifest of so many titles of the same video and speech."""
    with path.open("w") as file:
        for number in range(count):
            row = {"id": name(number), "video": str(video), "speech": str(speech)}
            file.write(json.dumps({**row, "output": f"out/{name(number)}.mp4", "audio": "keep"}) + "\n")
    return path


def rows_of(engine: Engine, run: str, title: Title) -> list[Row]:
    """The rows that one title sends to the driver: its plan, and a receipt for each output segment."""
    made = list(Planner(PlanSpec(engine.config, run, 250), Coordinator()).plan(title))
    (plan,) = (row for row in made if row["kind"] == PLAN_ROW)
    (dub,) = decode(TitlePlan, plan["meta"]).dubs
    if dub.error or not dub.output_segments:
        raise ValueError(f"the title of this benchmark cannot be planned: {dub.error or 'nothing to do'}")
    receipts = [
        {
            **one.which._asdict(),
            "kind": SEGMENT,
            "title": title.id,
            "path": f"{run}/segments/{title.id}/{one.which.name}.mp4",
            "sha256": "0" * 64,
            "frames": one.frames,
            "bytes": 20_000,
            "error": "",
            "meta": json.dumps({"seconds": {"look": 0.001, "store": 0.01}, "notes": []}),
        }
        for one in dub.output_segments
    ]
    return [{"kind": PLAN_ROW, "title": title.id, "error": "", "meta": plan["meta"]}, *receipts]


def renamed(rows: list[Row], old: str, new: str) -> Iterator[Row]:
    """The same rows of another title."""
    for row in rows:
        yield {
            key: value.replace(old, new) if isinstance(value, str) else value for key, value in row.items()
        }


def rss() -> float:
    """Resident MiB of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def work(folder: Path, count: int) -> Iterator[dict[str, float]]:
    """Figures after each `STEP` titles: ``titles``, ``ms`` of CPU for each since the last, ``mib``; the first is of
    the manifest, the last of writing plan and ledger.
    """
    folder.mkdir(parents=True, exist_ok=True)
    video, speech = short_title(folder)
    stages = [
        {"stage": "benchmarks.scale_stages:Look"},
        {
            "stage": "benchmarks.scale_stages:Store",
            "options": {"stored": str(encoded_segment(folder, video))},
        },
    ]
    config = EngineConfig.model_validate(
        {"name": "no-op", "find_faces": False, "detect_shots": False, "stages": stages}
    )
    engine, directory = Engine(config), RunDirectory(str(folder / "run"))
    manifest = write_manifest(folder / "manifest.jsonl", count, video, speech)
    base, cpu = rss(), time.process_time()

    def figures(titles: float, since: float) -> dict[str, Any]:
        nonlocal cpu
        spent, cpu = time.process_time() - cpu, time.process_time()
        return {"titles": titles, "ms": 1000 * spent / max(1, since), "mib": rss() - base}

    titles = with_missing_files(titles_of(str(manifest), engine, directory.url, None))
    yield figures(0, count)

    def finish(dub: DubPlan) -> None:
        collector.ended(record_of(dub, engine.name, "done", size=20_000))

    collector = Collector(directory, engine.name, titles, finish)
    rows = rows_of(engine, directory.url, titles[0])
    for number, title in enumerate(titles):
        for row in renamed(rows, titles[0].id, title.id):
            collector.take(row)
        if number % LOOK == 0:
            collector.state()
        if (number + 1) % STEP == 0 or number + 1 == count:
            yield figures(number + 1, number % STEP + 1)
    collector.write_plan()
    collector.write_ledger()
    if len(collector.records) != count or collector.waiting:
        raise ValueError(f"{len(collector.records)} of {count} titles ended")
    yield figures(count, count)


def driver(folder: Path, options: Any) -> None:
    """Print the figures of `work` for a catalogue of ``options.titles``."""
    print("driver: titles | CPU ms a title | MiB more than before the manifest")
    for number, one in enumerate(work(folder, options.titles)):
        what = "the manifest" if number == 0 else f"{one['titles']:.0f}"
        print(
            f"driver: {what} | {one['ms']:.3f} | {one['mib']:.0f} | load {os.getloadavg()[0]:.1f}", flush=True
        )
    print("driver: the last line is of writing plan and ledger at the end")
