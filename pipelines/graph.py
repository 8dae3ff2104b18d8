"""The Ray Data graph: titles -> planner pool -> one actor pool per group of stages -> rows for the driver.

Planning is the first operator of the same dataset, so that titles stream: the first one is dubbed while later ones are planned, and
backpressure holds the planners back when the pools behind are busy. One row is one block: blocks are never combined
(`target_max_block_size`), so each segment is scheduled for itself and a fan-out spreads over the next pool.
"""

from __future__ import annotations

import logging
import queue
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

import pipelines.session  # noqa: F401  (sets Ray's environment)
from pipelines.assembly import DubJob, assemble_dub
from pipelines.board import Board
from pipelines.config import PoolConfig, ProfileConfig
from pipelines.engine import FINAL
from pipelines.plan import PLANNED, Planner, PlanSpec
from pipelines.rows import Row, from_table
from pipelines.state import Record
from pipelines.titles import Title
from pipelines.worker import Group, GroupSpec

NAMESPACE = "retalk"


class BoardHandle:
    """The board in its actor, as workers see it."""

    def __init__(self, name: str) -> None:
        import ray

        self._ray: Any = ray
        self._board: Any = ray.get_actor(name, namespace=NAMESPACE)

    def begin(self, key: str) -> int:
        attempts: int = self._ray.get(self._board.begin.remote(key))
        return attempts

    def end(self, key: str) -> None:
        self._board.end.remote(key)

    def stage_done(self, stage: str, frames: int, seconds: float, error: bool) -> None:
        self._board.stage_done.remote(stage, frames, seconds, error)


class PlanActor:
    """A planner in an actor pool."""

    def __init__(self, spec: PlanSpec, board: str) -> None:
        self._planner = Planner(spec, BoardHandle(board))

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        yield from self._planner(table)


class GroupActor:
    """A group of stages in an actor pool."""

    def __init__(self, spec: GroupSpec, board: str) -> None:
        self._group = Group(spec, BoardHandle(board))

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        yield from self._group(table)


class Assembler:
    """Assembles dubs in a process of its own, one after the other; a task for each would start a process for each."""

    def run(self, job: DubJob, keep_segments: bool) -> Record:
        return assemble_dub(job, keep_segments)


class AssemblerPool:
    """A few `Assembler` actors, started as they are needed. `run` is called from as many threads as there may be actors."""

    def __init__(self, num_cpus: float) -> None:
        self._num_cpus = num_cpus
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._all: list[Any] = []

    def run(self, job: DubJob, keep_segments: bool) -> Record:
        """Assemble in an idle actor.

        Raises:
            ray.exceptions.RayError: the actor died three times over this dub.
        """
        import ray

        try:
            actor = self._idle.get_nowait()
        except queue.Empty:
            options = {"num_cpus": self._num_cpus, "max_restarts": -1, "max_task_retries": 2}
            actor = ray.remote(Assembler).options(**options).remote()
            self._all.append(actor)
        try:
            record: Record = ray.get(actor.run.remote(job, keep_segments))
            return record
        finally:
            self._idle.put(actor)

    def stop(self) -> None:
        """End the actors."""
        import ray

        for actor in self._all:
            ray.kill(actor)


def start_board() -> tuple[str, Any]:
    """Start the run's board; it lives as long as the returned handle.

    Returns:
        Its name for `BoardHandle`, and the actor's handle.
    """
    import ray

    name = f"board-{uuid.uuid4().hex[:12]}"
    # No CPU: it must never wait behind the pools. Restarted when its node dies; attempts are then counted anew.
    actor = ray.remote(Board).options(name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    return name, actor


def _pool(pool: PoolConfig, cpus: int) -> Any:
    from ray.data import ActorPoolStrategy

    low, high, initial = pool.bounds(cpus)
    if low == high:
        return ActorPoolStrategy(size=low, max_tasks_in_flight_per_actor=pool.in_flight)
    return ActorPoolStrategy(min_size=low, max_size=high, initial_size=initial, max_tasks_in_flight_per_actor=pool.in_flight)


def stream(
    titles: list[Title], plan: PlanSpec, placed: list[tuple[PoolConfig, GroupSpec]], profile: ProfileConfig, board: str
) -> Iterator[Row]:
    """Run titles through the graph on the connected Ray and yield rows from behind the last stage as they come, in any order.

    Args:
        titles: what to dub.
        plan: the planner's specification.
        placed: the groups in order, each with its pool; without any, the planner's rows are given.
        profile: planner pool and watchdog.
        board: name of the board actor.

    Raises:
        ray.exceptions.RayError: a pool cannot be set up, or the watchdog saw no progress for `watchdog_seconds`.
    """
    import ray
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            # What matters is in the rows' errors or raised here; Ray's own log file keeps the rest.
            handler.setLevel(logging.CRITICAL)
    # A pool larger than a short catalogue is no mistake.
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
    cpus = int(ray.cluster_resources().get("CPU", 1))
    context = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = profile.watchdog_seconds
    common: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
    with ray.data.DataContext.current(context):
        items = [{"title": title.to_json()} for title in titles]
        dataset: Any = ray.data.from_items(items, override_num_blocks=len(items))
        dataset = dataset.map_batches(
            PlanActor, fn_constructor_args=(plan, board), compute=_pool(profile.plan, cpus), num_cpus=profile.plan.num_cpus, **common
        )
        for pool, spec in placed:
            gpus = {"num_gpus": pool.num_gpus} if pool.num_gpus else {}
            dataset = dataset.map_batches(
                GroupActor, fn_constructor_args=(spec, board), compute=_pool(pool, cpus), num_cpus=pool.num_cpus, **gpus, **common
            )
        schema = FINAL if placed else PLANNED
        # No prefetching: a receipt is seen when it is there, not when the next one is.
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for index in range(table.num_rows):
                yield from_table(table, schema, index)
