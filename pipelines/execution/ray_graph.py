"""The Ray Data graph: titles -> planner pool -> one actor pool per group of stages -> rows for the driver.

Planning is the first operator of the same dataset, so that titles stream: the first one is dubbed while later
ones are planned, and backpressure holds the planners back when the pools behind are busy. One batch of rows
(`pipelines.execution.batching`) is one block: Ray neither combines nor splits them (`target_max_block_size`),
so each is scheduled for itself and a fan-out spreads over the next pool.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.engine.config import ProfileConfig
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.rows import HEARTBEAT, Row, from_table
from pipelines.engine.specs import GroupSpec, PlanSpec
from pipelines.execution.batching import MAX_ROWS, QUEUED, Batcher, BatchingPolicy, frames_of, pack, unpack
from pipelines.execution.coordinator_client import CoordinatorClient
from pipelines.execution.ray_session import detach_input  # sets Ray's environment, too
from pipelines.manifest.titles import Title

if TYPE_CHECKING:
    from pipelines.planning.planner import Planner

#: Titles from which a catalogue is large, and seconds that Ray's scheduler then waits for news, at most; see
#: `reduce_scheduler_polling`.
LARGE, LARGE_WAIT = 500, 1.0
#: Titles for each second that Ray's scheduler waits for news.
TITLES_PER_WAIT = 2000


class PlanActor:
    """A planner in an actor pool: a table with lists of titles (as JSON) in, packed rows out."""

    def __init__(self, spec: PlanSpec, coordinator: str, policy: BatchingPolicy) -> None:
        detach_input()
        self._coordinator = CoordinatorClient(coordinator)
        self._policy = policy
        with self._coordinator.coming_up("plan"):
            from pipelines.planning.planner import Planner

            self._planner = Planner(spec, self._coordinator)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        from pipelines.planning.plans import decode

        for titles in table.column("titles").to_pylist():
            yield from plan_batches(self._planner, [decode(Title, text) for text in titles], self._policy)
        self._coordinator.flush()


def plan_batches(planner: Planner, titles: list[Title], policy: BatchingPolicy) -> Iterator[pa.Table]:
    """Plan titles one after the other and yield their rows packed; short titles share a batch where there are
    many.
    """
    from pipelines.planning.segment_rows import PLANNED

    together = policy.titles_per_task > 1
    batcher = Batcher(PLANNED, policy.block_frames, MAX_ROWS if together else 1)
    for title in titles:
        rows = []
        for row in planner.steps(title):
            if row["kind"] == HEARTBEAT:
                yield from batcher.rest()
                yield pack([row], PLANNED)
            else:
                rows.append(row)
        if not together:
            batcher.rows_limit = policy.rows(len(rows) - 1)
        for row in rows:
            yield from batcher.add(row, *frames_of(row))
        if not together:
            yield from batcher.rest()
    yield from batcher.rest()


class GroupActor:
    """A group of stages in an actor pool."""

    def __init__(self, spec: GroupSpec, coordinator: str, policy: BatchingPolicy) -> None:
        detach_input()
        self._coordinator = CoordinatorClient(coordinator)
        with self._coordinator.coming_up("+".join(spec.stages)):
            from pipelines.execution.worker import Group

            self._group = Group(spec, self._coordinator, policy)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        yield from self._group(table)
        self._coordinator.flush()


def _pool(pool: PoolConfig, cpus: int) -> Any:
    from ray.data import ActorPoolStrategy

    low, high, initial = pool.bounds(cpus)
    if low == high:
        return ActorPoolStrategy(size=low, max_tasks_in_flight_per_actor=pool.in_flight)
    return ActorPoolStrategy(
        min_size=low, max_size=high, initial_size=initial, max_tasks_in_flight_per_actor=pool.in_flight
    )


@contextmanager
def reduce_scheduler_polling(titles: int) -> Iterator[None]:
    """Let Ray Data's scheduler poll less often where a catalogue is large.

    By default it polls ten times a second at 5 to 8 ms of the driver each, whether there is something to do or not,
    which in a large catalogue is a third of the driver's cost of a segment; results wait a moment longer, the longer
    the catalogue. Ray has no setting for it, only this internal constant: where a version has no such constant,
    nothing happens.
    """
    from ray.data._internal.execution import streaming_executor_state as scheduler

    name = "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S"
    usual = getattr(scheduler, name, None)
    if titles < LARGE or usual is None:
        yield
        return
    setattr(scheduler, name, max(usual, min(LARGE_WAIT, titles / TITLES_PER_WAIT)))
    try:
        yield
    finally:
        setattr(scheduler, name, usual)


def stream(
    titles: list[Title],
    plan: PlanSpec,
    placed: list[tuple[PoolConfig, GroupSpec]],
    profile: ProfileConfig,
    coordinator: str,
) -> Iterator[list[Row]]:
    """Run titles through the graph on the connected Ray and yield rows from behind the last stage as they
    come, in any order, in lists of those that have come together.

    Args:
        titles: titles to dub.
        plan: the planner's specification.
        placed: the groups in order, each with its pool; without any, the planner's rows are given.
        profile: planner pool and watchdog.
        coordinator: name of the coordinator actor.

    Raises:
        ray.exceptions.RayError: a pool cannot be set up, or the watchdog saw no progress for
            `watchdog_seconds`.
    """
    import ray
    import ray.data

    from pipelines.engine.engine import FINAL
    from pipelines.execution.scheduling import planning_tasks, sizes_for
    from pipelines.planning.plans import encode
    from pipelines.planning.segment_rows import PLANNED

    cpus = int(ray.cluster_resources().get("CPU", 1))
    policy = BatchingPolicy(
        profile.block_frames or profile.segment_frames,
        len(titles),
        max((pool.bounds(cpus)[1] for pool, _ in placed), default=1),
        profile.plan.bounds(cpus)[1],
        max((spec.block_segments for _, spec in placed), default=1),
    )
    with ray.data.DataContext.current(_data_context(profile)), reduce_scheduler_polling(len(titles)):
        tasks = planning_tasks(sizes_for(titles, policy), policy)
        items = [{"titles": [encode(titles[number]) for number in task]} for task in tasks]
        dataset: Any = ray.data.from_items(items, override_num_blocks=len(items))
        dataset = _mapped(dataset, PlanActor, (plan, coordinator, policy), profile.plan, cpus)
        for pool, spec in placed:
            dataset = _mapped(dataset, GroupActor, (spec, coordinator, policy), pool, cpus)
        schema = FINAL if placed else PLANNED
        # No prefetching: a receipt is taken as soon as it is there, not when the next one is.
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield _rows(table, schema)


def _data_context(profile: ProfileConfig) -> Any:
    """Return Ray Data's settings for a run, and keep its log off the terminal."""
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            # Errors are in the rows or raised by `stream`; Ray's own log file keeps the rest.
            handler.setLevel(logging.CRITICAL)
    # A pool larger than a short catalogue is no mistake.
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
    context = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 1
    context.downstream_capacity_backpressure_ratio = QUEUED
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = profile.watchdog_seconds
    return context


def _mapped(dataset: Any, actor: type, arguments: tuple[Any, ...], pool: PoolConfig, cpus: int) -> Any:
    """Return the dataset behind a pool of actors, which take and give packed tables."""
    # A block is one batch with any batch size; where a pool books GPUs, Ray insists on a number.
    booked: dict[str, Any] = (
        {"num_gpus": pool.num_gpus, "batch_size": 1} if pool.num_gpus else {"batch_size": None}
    )
    return dataset.map_batches(
        actor,
        fn_constructor_args=arguments,
        compute=_pool(pool, cpus),
        num_cpus=pool.num_cpus,
        batch_format="pyarrow",
        **booked,
    )


def _rows(table: pa.Table, schema: pa.Schema) -> list[Row]:
    """Return the rows of a block, without heartbeats."""
    from pipelines.engine.engine import FINAL

    rows = unpack(table, schema)
    plain = (
        rows.to_pylist()
        if schema.equals(FINAL)
        else [from_table(rows, schema, index) for index in range(rows.num_rows)]
    )
    return [row for row in plain if row["kind"] != HEARTBEAT]
