"""The log of a run: one small JSON file in the run directory, written whole every few seconds while the run
lasts.

``runs/START-ID.json``, one for each invocation of `retalk run`. `retalk status` shows the newest during a
run; `retalk report` adds them up; `retalk plan` takes its rates from them where a profile has none.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from operators.storage.files import filesystem, join
from pipelines.engine.config import ProfileConfig
from pipelines.monitoring.progress_text import PERIOD
from pipelines.state.run_directory import write_text

FOLDER = "runs"
#: A log that was last written so many seconds ago belongs to a run that has died or hangs.
SILENT = 60.0
#: Seconds over which the present speed is taken.
WINDOW = 60.0


class RunLog:
    """Writes the log of one run.

    Args:
        url: the run directory.
        engine: the engine's name.
        profile: for its name and the planner's pool.
        placed: the pool of each stage of the engine: ``{stage: (pool, num_cpus, num_gpus, most actors)}``.
    """

    def __init__(
        self,
        url: str,
        engine: str,
        profile: ProfileConfig,
        placed: Mapping[str, tuple[str, float, float, int]],
    ) -> None:
        self.started = time.time()
        stamp = datetime.datetime.fromtimestamp(self.started, datetime.timezone.utc).strftime("%Y%m%dT%H%M%S")
        self.path = join(url, FOLDER, f"{stamp}-{uuid.uuid4().hex[:6]}.json")
        who = {"pid": os.getpid(), "machine": socket.gethostname()}
        priced = {"nodes": [group.model_dump() for group in profile.nodes], "currency": profile.currency}
        self._about = {"started": self.started, "engine": engine, "profile": profile.name, **who, **priced}
        plan = profile.plan
        self.placed = {
            "plan": (plan.name, plan.num_cpus, plan.num_gpus, plan.max or plan.size or 1),
            **placed,
        }
        self._nodes: dict[str, float] = {}
        self._seen = self.started
        self._recent: list[tuple[float, int]] = [(self.started, 0)]

    def write(
        self,
        state: Mapping[str, Any],
        coordinator: Mapping[str, Any],
        nodes: Mapping[str, int],
        outcome: str = "running",
    ) -> None:
        """Write the log anew.

        Args:
            state: of the collector and the meter: titles, planned_titles, ended, failed, planned, done,
                elapsed, fps, eta, expected.
            coordinator: the coordinator's snapshot; ``starting`` are the workers that are not up though they
                should be.
            nodes: number of nodes of each shape (``"16c0g"``: CPUs, GPUs) now.
            outcome: "running", "ended" or "interrupted".

        Raises:
            OSError: the run directory cannot be written.
        """
        now = time.time()
        for form, count in nodes.items():
            self._nodes[form] = self._nodes.get(form, 0.0) + count * (now - self._seen)
        self._seen = now
        self._recent = [*((t, n) for t, n in self._recent if now - t < WINDOW), (now, int(state["done"]))]
        (then, before), (_, after) = self._recent[0], self._recent[-1]
        recent = (after - before) / (now - then) if now - then > PERIOD / 2 else state["fps"]
        stages = {}
        for name, (pool, cpus, gpus, most) in self.placed.items():
            counted: dict[str, Any] = {
                "rows": 0,
                "frames": 0,
                "seconds": 0.0,
                "errors": 0,
                "running": 0,
                **coordinator["stages"].get(name, {}),
            }
            counted["seconds"] = round(counted["seconds"], 3)
            stages[name] = {**counted, "pool": pool, "num_cpus": cpus, "num_gpus": gpus, "most": most}
        content = {
            **self._about,
            "updated": now,
            "outcome": outcome,
            **{
                name: state[name]
                for name in ("titles", "planned_titles", "ended", "failed", "planned", "done", "expected")
            },
            **{
                name: None if state[name] is None else round(state[name], 3)
                for name in ("elapsed", "fps", "eta")
            },
            "recent_fps": round(recent, 3),
            "assembling": state.get("assembling", 0),
            "starting": coordinator.get("starting", []),
            "stages": stages,
            "node_seconds": {form: round(seconds, 1) for form, seconds in sorted(self._nodes.items())},
        }
        write_text(self.path, json.dumps(content))


def read_logs(url: str) -> list[dict[str, Any]]:
    """The logs of all runs in a run directory, the oldest first; damaged ones are left out."""
    fs, folder = filesystem(join(url, FOLDER))
    if not fs.isdir(folder):
        return []
    paths = sorted(
        path
        for path in fs.find(folder)
        if path.endswith(".json") and not path.rsplit("/", 1)[-1].startswith(".")
    )
    found = []
    for content in (fs.cat(paths, on_error="omit") if paths else {}).values():
        try:
            log = json.loads(content)
        except ValueError:
            continue
        if (
            isinstance(log, dict)
            and {"started", "updated", "outcome", "stages", "node_seconds"} <= log.keys()
        ):
            found.append(log)
    return sorted(found, key=lambda log: log["started"])


def node_shapes(nodes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the living nodes of each shape in `ray.nodes()`; a head that does no work is left out."""
    found: dict[str, int] = {}
    for node in nodes:
        cpus, gpus = (float(node.get("Resources", {}).get(kind, 0)) for kind in ("CPU", "GPU"))
        if node.get("Alive") and (cpus or gpus):
            found[node_shape(cpus, gpus)] = found.get(node_shape(cpus, gpus), 0) + 1
    return found


def node_shape(cpus: float, gpus: float) -> str:
    """Return a node's shape as logs write it: ``"16c0g"``."""
    return f"{cpus:g}c{gpus:g}g"


def size_of(form: str) -> tuple[float, float]:
    """CPUs and GPUs of a node's shape."""
    cpus, _, gpus = form.removesuffix("g").partition("c")
    return float(cpus), float(gpus)
