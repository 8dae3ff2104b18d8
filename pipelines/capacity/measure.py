"""Measure one stage in a process of its own: seconds per frame, memory, row sizes. `retalk profile` starts
``python -m pipelines.capacity.measure``.

One process per stage, so that the memory is that stage's: its libraries, its networks, one row.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import Engine
from pipelines.engine.rows import SEGMENT, Row, from_table, to_table
from pipelines.engine.specs import GroupSpec, PlanSpec
from pipelines.errors import UsageError
from pipelines.execution.worker import Group, hide_gpus
from pipelines.manifest.titles import Title
from pipelines.planning.fanout import fan_out
from pipelines.planning.planner import Planner
from pipelines.planning.plans import TitlePlan, decode
from pipelines.planning.segment_rows import PLANNED
from pipelines.state.coordinator import Coordinator

MIB = 1 << 20
#: Id of the first title, which is not timed: models are loaded and functions compiled during it.
WARM = "warm"
#: Seconds after which a stage that is measured counts as hanging.
PATIENCE = 3600


@dataclass
class Measure:
    """One stage as measured.

    Attributes:
        stage: its name, or "plan".
        points: (megapixels of the picture, seconds per frame), one for each title.
        rss_mib, base_mib: most memory of the process, and before the stage was set up.
        gpu_mib: most memory on the GPU, the driver's share included; 0 where it uses none.
        setup_seconds: to load what it needs.
        row_mib: the largest row that it was given.
    """

    stage: str
    points: list[tuple[float, float]] = field(default_factory=list)
    rss_mib: float = 0.0
    base_mib: float = 0.0
    gpu_mib: float = 0.0
    setup_seconds: float = 0.0
    row_mib: float = 0.0


def write_rows(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Rows as an Arrow file, one batch each."""
    with pa.ipc.new_file(str(path), schema) as writer:
        for row in rows:
            writer.write_table(to_table(row, schema))


def read_rows(path: Path) -> tuple[list[pa.Table], pa.Schema]:
    """Tables of one row each, as `write_rows` wrote them."""
    with pa.ipc.open_file(str(path)) as reader:
        return [
            pa.Table.from_batches([reader.get_batch(n)]) for n in range(reader.num_record_batches)
        ], reader.schema


def measure(
    stage: str, engine: EngineConfig, run: str, segment_frames: int, device: str, source: Path, target: Path
) -> Measure:
    """Run a stage on rows in a file, in a new process.

    Args:
        stage: its name; "plan" reads titles (JSON lines) instead of rows.
        engine: its stages with their options.
        run: run directory.
        segment_frames: for the planner.
        device: torch device.
        source: file with the rows to run on.
        target: file for the resulting rows.

    Raises:
        UsageError: the stage fails on this footage, or its process dies.
    """
    spec = {
        "stage": stage,
        "engine": engine.model_dump(),
        "run": run,
        "segment_frames": segment_frames,
        "device": device,
    }
    with tempfile.TemporaryDirectory(prefix="retalk-measure-") as folder:
        asked, answer = Path(folder, "spec.json"), Path(folder, "answer.json")
        asked.write_text(
            json.dumps({**spec, "source": str(source), "target": str(target), "answer": str(answer)})
        )
        command = [sys.executable, "-m", "pipelines.capacity.measure", str(asked)]
        ended = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
        if ended.returncode != 0 or not answer.exists():
            last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
            raise UsageError(
                f"stage {stage} cannot be measured: its process ended with exit code {ended.returncode} ({last})"
            )
        said = json.loads(answer.read_text())
    if said.get("error"):
        raise UsageError(f"stage {stage} cannot be measured on this footage: {said['error']}")
    return Measure(**{**said, "points": [tuple(point) for point in said["points"]]})


def rss_mib() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _plan(spec: dict[str, Any]) -> tuple[list[Row], pa.Schema, dict[str, list[float]], dict[str, Any]]:
    config = EngineConfig.model_validate(spec["engine"])
    planner = Planner(PlanSpec(config, spec["run"], spec["segment_frames"]), Coordinator())
    rows: list[Row] = []
    timed: dict[str, list[float]] = {}
    for text in Path(spec["source"]).read_text().splitlines():
        title = decode(Title, text)
        began = time.perf_counter()
        made = list(planner.plan(title))
        seconds = time.perf_counter() - began
        plan = decode(TitlePlan, made[0]["meta"])
        if problem := made[0]["error"] or next((dub.error for dub in plan.dubs if dub.error), ""):
            return [], PLANNED, {}, {"error": problem}
        if title.id != WARM:
            timed[title.id] = [plan.width * plan.height / 1e6, seconds, plan.frames]
        rows += made
    return rows, PLANNED, timed, {}


def _stage(spec: dict[str, Any]) -> tuple[list[Row], pa.Schema, dict[str, list[float]], dict[str, Any]]:
    tables, _ = read_rows(Path(spec["source"]))
    config = EngineConfig.model_validate(spec["engine"])
    Engine(config)  # imports the stages' modules: what every worker of this engine has
    base = rss_mib()
    group = Group(GroupSpec(config, (spec["stage"],), spec["run"], spec["device"]), Coordinator())
    per_dub = group.stages[0].per == "dub"
    out: list[Row] = []
    timed: dict[str, list[float]] = {}
    for table in tables:
        row = from_table(table, group.input)
        began = time.perf_counter()
        made = list(group.process(row))
        seconds = time.perf_counter() - began
        out += made
        if failed := next((one["error"] for one in made if one["error"]), ""):
            return [], group.output, {}, {"error": failed}
        if row["kind"] != SEGMENT or row["title"] == WARM:
            continue
        parts = list(fan_out(row)) if per_dub and "source" not in row else [row]
        entry = timed.setdefault(row["title"], [row["frame_width"] * row["frame_height"] / 1e6, 0.0, 0])
        entry[1] += seconds
        entry[2] += sum(
            len(part["source"]) if per_dub else int(part["stop"] - part["start"]) for part in parts
        )
    return (
        out,
        group.output,
        timed,
        {"row_mib": max((table.nbytes for table in tables), default=0) / MIB, "base_mib": base},
    )


def _gpu_mib(device: str) -> float:
    """Return the peak memory of this process on the GPU: torch's, and what the driver keeps for the process."""
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return 0.0
    import torch

    from retalk_models.inference.device_memory import peak_memory

    found = peak_memory(torch.device(device))
    return found.process if found else 0.0


def main(path: str) -> None:
    """Measure the stage that `measure` asks for on standard input, and write the result."""
    spec = json.loads(Path(path).read_text())
    hide_gpus(spec["device"], isolated=True)
    began = time.perf_counter()
    rows, schema, timed, more = _plan(spec) if spec["stage"] == "plan" else _stage(spec)
    answer: dict[str, Any] = {"stage": spec["stage"], **more}
    if "error" not in more:
        spent = sum(seconds for _, seconds, _ in timed.values())
        answer["points"] = [(size, seconds / frames) for size, seconds, frames in timed.values() if frames]
        answer.update(
            rss_mib=rss_mib(),
            gpu_mib=_gpu_mib(spec["device"]),
            setup_seconds=max(0.0, time.perf_counter() - began - spent),
        )
        write_rows(Path(spec["target"]), rows, schema)
    Path(spec["answer"]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
