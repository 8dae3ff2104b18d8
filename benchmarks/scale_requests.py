"""Calls to the storage that a title and its segment cost: part ``requests`` of `benchmarks.scale`.

Runs of one title and of several, all on fsspec's file system in memory; the difference is what one more costs. Calls
that a file system makes of others count once, so that they are about the requests to an object store. Files that are
written again as time goes by (the lock, the log of the run, the ledger) do not count.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from benchmarks.scale_footage import encoded_segment, short_title
from pipelines.engine.config import EngineConfig, ProfileConfig
from pipelines.engine.profile_parts import CacheConfig, PoolConfig
from pipelines.runner import run

#: Calls, by what an object store does for them.
KINDS = {
    **dict.fromkeys(("info", "exists", "isfile", "isdir"), "look"),
    **dict.fromkeys(("ls", "find", "glob"), "list"),
    **dict.fromkeys(("_open", "cat_file", "get_file"), "read"),
    **dict.fromkeys(("put_file", "pipe_file"), "write"),
    **dict.fromkeys(("mv", "cp_file"), "copy"),
    **dict.fromkeys(("rm", "rm_file", "_rm"), "delete"),
}
#: Files of a run that are written again as time goes by.
PERIODIC = ("lock.json", "ledger.jsonl", "ledger.parquet", "/runs/")


@contextmanager
def counted() -> Iterator[collections.Counter[str]]:
    """Calls to the file system in memory while it lasts, by kind."""
    found: collections.Counter[str] = collections.Counter()
    plain = {name: getattr(MemoryFileSystem, name) for name in KINDS}
    depth = 0

    def wrapped(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            writes = name == "_open" and "r" not in (args[2] if len(args) > 2 else kwargs.get("mode", "rb"))
            periodic = any(name in str(path) for path in args[1:3] for name in PERIODIC)
            found["write" if writes else KINDS[name]] += depth == 0 and not periodic
            depth += 1
            try:
                return plain[name](*args, **kwargs)
            finally:
                depth -= 1

        return call

    for name in KINDS:
        setattr(MemoryFileSystem, name, wrapped(name))
    try:
        yield found
    finally:
        for name, function in plain.items():
            setattr(MemoryFileSystem, name, function)


def calls_of(folder: Path, count: int) -> collections.Counter[str]:
    """Calls of a run of so many titles of one segment.

    Raises:
        ValueError: one of them failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    video, speech = short_title(folder)
    stored = encoded_segment(folder, video)
    store = fsspec.filesystem("memory")
    for n in range(count):
        store.put_file(str(video), f"/requests/in/{n}.mp4")
        store.put_file(str(speech), f"/requests/in/{n}.wav")
    stages = [
        {"stage": "benchmarks.scale_stages:Look"},
        {"stage": "benchmarks.scale_stages:Store", "options": {"stored": str(stored)}},
    ]
    engine = EngineConfig.model_validate(
        {"name": "no-op", "find_faces": False, "detect_shots": False, "stages": stages}
    )
    profile = ProfileConfig(
        name="requests", pools=[PoolConfig(name="all", size=1)], cache=CacheConfig(on=False)
    )
    source = "memory://requests/in"
    rows = [
        {
            "id": f"title-{n}",
            "video": f"{source}/{n}.mp4",
            "speech": f"{source}/{n}.wav",
            "output": f"out/{n}.mp4",
            "audio": "keep",
        }
        for n in range(count)
    ]
    with counted() as found:
        report = run(
            rows, run_dir=f"memory://requests/run-{count}", engine=engine, profile=profile, runner="local"
        )
    store.rm("/requests", recursive=True)
    if report.failed:
        raise ValueError(report.failed[0]["error"])
    return found


def of_one_more(folder: Path, few: int = 2, many: int = 10) -> dict[str, float]:
    """Calls that one more title costs, by kind."""
    less, more = calls_of(folder / "few", few), calls_of(folder / "many", many)
    return {kind: (more[kind] - less[kind]) / (many - few) for kind in sorted({*less, *more})}


def requests(folder: Path, options: Any) -> None:
    """Print `of_one_more`."""
    del options
    found = of_one_more(folder)
    print(
        f"requests: a title of one segment more: {sum(found.values()):.1f} calls, "
        + ", ".join(f"{kind} {n:.1f}" for kind, n in found.items() if n)
    )
