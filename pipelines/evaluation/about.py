"""``sweep.json``: what was asked for, of which list, with which versions and model files, on which machine."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from operators.machine import machine_memory
from operators.storage.files import join
from operators.storage.redact import redact
from pipelines.evaluation.measures import OFFSET
from pipelines.evaluation.spec import SweepSpec
from pipelines.evaluation.systems import system_digests
from pipelines.state.content_keys import libraries, version
from pipelines.state.run_directory import read_json

#: Keys of an earlier command that are kept, and how many commands.
COMMAND = ("command", "options", "list", "versions", "machine", "started", "finished")
MOST_EARLIER = 100


def about_sweep(spec: SweepSpec, started: str) -> dict[str, Any]:
    """Content of ``sweep.json``, unfinished: of this command, and of earlier ones that have added to the same sweep."""
    found = read_json(join(spec.directory, "sweep.json"))
    before: dict[str, Any] = found if isinstance(found, dict) else {}
    files, origins = spec.measures.digests()
    for system in spec.systems:
        files |= system_digests(system)[0]
    attempts = dict(before.get("attempts", {}))
    for system in spec.systems:
        arm = f"{system.name} {spec.measures.protocol}"
        attempts[arm] = max(len(spec.pairs), attempts.get(arm, 0))
    earlier = [
        *before.get("earlier", []),
        *([{name: before.get(name) for name in COMMAND}] if before else []),
    ]
    listing = spec.listing
    return {
        "name": Path(spec.directory).name,
        "data": spec.data,
        "protocol": spec.measures.protocol,
        "systems": list(
            dict.fromkeys([*before.get("systems", []), *(system.name for system in spec.systems)])
        ),
        "attempted": sum(attempts.values()),
        "attempts": attempts,
        "list": {
            "lines": listing.lines,
            "pairs": listing.pairs,
            "left_out": dict(listing.left_out),
            "examples": listing.examples,
            "shard": f"{spec.shard.number}/{spec.shard.of}",
        },
        "options": dict(spec.options),
        "metrics": list(dict.fromkeys([*before.get("metrics", []), *spec.measures.names])),
        "lse_protocol": spec.measures.lse_protocol,
        "metric_weights": {
            **before.get("metric_weights", {}),
            **origins,
            **({OFFSET: origins["lse_d"]} if "lse_d" in origins else {}),
        },
        "versions": {
            "retalk": version(),
            "python": platform.python_version(),
            "ray": _version("ray"),
            **libraries(),
        },
        "digests": {**before.get("digests", {}), **files},
        "machine": machine(),
        "command": [redact(word) for word in spec.command],
        "started": started,
        "finished": None,
        "earlier": earlier[-MOST_EARLIER:],
    }


def machine() -> dict[str, Any]:
    """The machine that a sweep runs on: system, processor, cores, memory, GPUs (asked for only where torch is loaded already)."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    except OSError:
        pass
    gpus = []
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(terse=True),
        "processor": model,
        "cpus": os.cpu_count(),
        "memory_gib": round(machine_memory() / (1 << 30), 1),
        "gpus": gpus,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def now() -> str:
    """The time, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
