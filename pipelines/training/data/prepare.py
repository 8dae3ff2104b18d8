"""Preparation of a data set: sources to shards, in this process or by a pool of Ray Data actors, then index and statistics.

A shard is a fixed list of sources. It is written by whoever works on it and counts once its receipt is there: killed anywhere and run
again, the same command goes on with the shards that are missing, and they come out the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from operators.storage.files import sweep
from pipelines.errors import UsageError
from pipelines.state.lock import RunLock
from pipelines.training.data.finish import finish
from pipelines.training.data.shard import ShardMaker, Work
from pipelines.training.data.sheet import write_sheet
from pipelines.training.data.sources import Source
from pipelines.training.data.store import DataSet, Settings
from retalk_models.registry.registry import check_files

#: Networks of the lip-sync expert and of the 3DMM coefficients.
EXPERT, RECONSTRUCTION = ("syncnet",), ("face3d", "similarity_Lm3D_all.mat")


def decided(settings: Settings) -> Settings:
    """Settings with "auto" replaced by what the model files on this machine allow.

    Raises:
        UsageError: what is asked for needs model files that are missing; names them and the command that brings them.
    """

    def here(names: Sequence[str], asked: bool) -> bool:
        try:
            check_files(names, settings.weights)
        except ValueError as problem:
            if asked:
                raise UsageError(str(problem)) from problem
            return False
        return True

    if settings.sync in ("auto", "expert"):
        expert = here(EXPERT, settings.sync == "expert")
        settings = dataclasses.replace(settings, sync="expert" if expert else "landmarks")
    if settings.coefficients in ("auto", "on"):
        known = here(RECONSTRUCTION, settings.coefficients == "on")
        settings = dataclasses.replace(settings, coefficients="on" if known else "off")
    return settings


def shards(sources: Sequence[Source], settings: Settings) -> list[Work]:
    """Divide sources into shards."""
    size = settings.sources_per_shard
    return [
        Work(f"{number:05d}", tuple(sources[start : start + size]))
        for number, start in enumerate(range(0, len(sources), size))
    ]


def prepare(
    sources: Sequence[Source],
    url: str,
    settings: Settings,
    runner: str = "local",
    workers: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Prepare a data set, or go on with it.

    Args:
        sources: of the whole data set, ascending by name.
        url: fsspec URL of the folder.
        settings: how.
        runner: "local": in this process; "ray": by Ray Data on the connected Ray.
        workers: actors of Ray's pool; 0: one a CPU.
        say: is told how it stands.

    Returns:
        The statistics (`finish.statistics`).

    Raises:
        UsageError: the folder holds another data set or another run is at work in it, or model files are missing.
    """
    settings = decided(settings)
    data, work = DataSet(url), shards(sources, settings)
    listed = json.dumps([dataclasses.astuple(source) for source in sources])
    with RunLock(data.url) as lock:
        data.begin(settings, {"sources": hashlib.sha256(listed.encode()).hexdigest(), "videos": len(sources)})
        sweep(data.file("shards"))
        receipts = {one.name: receipt for one in work if (receipt := data.receipt(one.name)) is not None}
        left = [dataclasses.replace(one, run=lock.owner) for one in work if one.name not in receipts]
        if receipts and left:
            say(f"{len(receipts)} of {len(work)} shards are there already")
        for name in _made(left, data, settings, runner, workers):
            receipt = data.receipt(name)
            if receipt is None:
                raise RuntimeError(f"{data.shard(name)}: was written and is gone")
            receipts[name] = receipt
            clips = sum(len(one.clips) for one in receipts.values())
            say(f"shard {len(receipts)} of {len(work)}, {clips} clips")
        say("index and statistics")
        found = finish(data, settings, receipts)
        write_sheet(data)
    return found


def _made(
    left: Sequence[Work], data: DataSet, settings: Settings, runner: str, workers: int
) -> Iterator[str]:
    """Make shards; yields the name of each when its receipt is there."""
    if not left:
        return
    if runner == "ray":
        from pipelines.training.data.ray_pool import made_by_ray  # sets Ray's environment

        yield from made_by_ray(left, data.url, settings, workers)
        return
    maker = ShardMaker(data.url, settings)
    for one in left:
        yield maker.make(dataclasses.replace(one, run=""))
