"""Shards by a pool of Ray Data actors. A row is a shard's list of sources; pictures never travel between processes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.execution.ray_session import detach_input  # sets Ray's environment, too
from pipelines.training.data.store import Settings

if TYPE_CHECKING:
    from pipelines.training.data.shard import Work


class ShardActor:
    """Makes shards and says their names."""

    def __init__(self, url: str, settings: Settings) -> None:
        detach_input()
        from pipelines.training.data.shard import ShardMaker

        self._maker = ShardMaker(url, settings)

    def __call__(self, table: pa.Table) -> pa.Table:
        from pipelines.training.data.shard import Work
        from pipelines.training.data.sources import Source

        names = []
        for row in table.to_pylist():
            sources = tuple(Source(**one) for one in json.loads(row["sources"]))
            names.append(self._maker.make(Work(row["name"], sources, row["run"])))
        return pa.table({"name": names})


def made_by_ray(left: Sequence[Work], url: str, settings: Settings, workers: int = 0) -> Iterator[str]:
    """Make shards on the connected Ray; yields the name of each that is done, in any order.

    Args:
        left: shards to be made.
        url: of the data set, reached by all nodes.
        settings: decided.
        workers: actors; 0: one a CPU, and no more than shards.
    """
    import ray
    import ray.data

    size = max(1, min(workers or int(ray.cluster_resources().get("CPU", 1)), len(left)))
    items = [
        {
            "name": one.name,
            "run": one.run,
            "sources": json.dumps([dataclasses.asdict(source) for source in one.sources]),
        }
        for one in left
    ]
    context: Any = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 1  # a shard's row is a block: names come as soon as they are there
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    with ray.data.DataContext.current(context):
        dataset: Any = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            ShardActor,
            fn_constructor_args=(url, settings),
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=1 if workers else 0.75,
            batch_format="pyarrow",
            batch_size=None,
        )
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from table["name"].to_pylist()
