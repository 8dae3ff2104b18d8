"""The Ray Data graph: titles -> planner pool -> one actor pool per group of stages -> rows for the driver.

Planning is the first operator of the same dataset, so that titles stream: the first one is dubbed while later ones are planned, and
backpressure holds the planners back when the pools behind are busy. One bundle of rows (`pipelines.bundles`) is one block: Ray neither
combines nor splits them (`target_max_block_size`), so each is scheduled for itself and a fan-out spreads over the next pool.
"""

from __future__ import annotations

import collections
import logging
import math
import os
import queue
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.beats import BEAT
from pipelines.board import Board
from pipelines.bundles import MAX_ROWS, QUEUED, Bundler, Bundling, frames_of, pack, unpack
from pipelines.config import PoolConfig, ProfileConfig
from pipelines.rows import Row, from_table
from pipelines.session import RayLostError, detach_input, ray_lost  # sets Ray's environment, too
from pipelines.specs import GroupSpec, PlanSpec
from pipelines.titles import Title

if TYPE_CHECKING:
    from pipelines.assembly import DubJob
    from pipelines.plan import Planner
    from pipelines.state import Record

NAMESPACE = "retalk"
#: Seconds that the board has to answer the progress display.
BOARD_PATIENCE = 10.0
#: Seconds that a worker's notes to the board may wait.
NOTES_PERIOD = 1.0
#: Titles from which a catalogue is large, and seconds that Ray's scheduler then waits for news; see `unhurried`.
LARGE, LARGE_WAIT = 500, 0.25
#: Dubs that an assembler is sent at once, at most, and their frames.
MAX_ASSEMBLED, FRAMES_ASSEMBLED = 16, 2000


class BoardHandle:
    """The board in its actor, as workers see it.

    What need not be waited for is gathered and sent along with the next `begin`, at the end of a bundle, or after a second.
    """

    def __init__(self, name: str) -> None:
        import ray

        self._ray: Any = ray
        self._board: Any = ray.get_actor(name, namespace=NAMESPACE)
        self._notes: list[tuple[str, tuple[Any, ...]]] = []
        self._sent = time.monotonic()

    def begin(self, key: str) -> int:
        attempts: int = self._ray.get(self._board.after.remote(self._taken(), "begin", key))
        return attempts

    def end(self, key: str) -> None:
        self._note("end", key)

    def stage_begun(self, stage: str) -> None:
        self._note("stage_begun", stage)

    def stage_at(self, stage: str, frames: float) -> None:
        self._note("stage_at", stage, frames)

    def stage_done(self, stage: str, frames: int, seconds: float, error: bool) -> None:
        self._note("stage_done", stage, frames, seconds, error)

    def decide(self, key: str, decision: Any) -> None:
        self._ray.get(self._board.decide.remote(key, decision))

    def begin_plan(self, key: str) -> tuple[int, Any]:
        found: tuple[int, Any] = self._ray.get(self._board.after.remote(self._taken(), "begin_plan", key))
        return found

    @contextmanager
    def coming_up(self, group: str) -> Iterator[None]:
        """Tell the board that this actor is starting, and then that it is up. Its imports and its set-up belong inside."""
        worker = self._ray.get_runtime_context().get_actor_id() or uuid.uuid4().hex
        told = (worker, group, socket.gethostname(), os.getpid())
        self._board.starting.remote(*told, "importing")
        yield
        self._board.up.remote(worker)

    def claim(self, size: int) -> bool:
        return bool(self._ray.get(self._board.claim.remote(size)))

    def flush(self) -> None:
        """Send what was gathered."""
        if self._notes:
            self._board.note.remote(self._taken())

    def _note(self, method: str, *arguments: Any) -> None:
        self._notes.append((method, arguments))
        if time.monotonic() - self._sent > NOTES_PERIOD:
            self.flush()

    def _taken(self) -> list[tuple[str, tuple[Any, ...]]]:
        notes, self._notes, self._sent = self._notes, [], time.monotonic()
        return notes


class PlanActor:
    """A planner in an actor pool: a table with lists of titles (as JSON) in, packed rows out."""

    def __init__(self, spec: PlanSpec, board: str, bundling: Bundling) -> None:
        detach_input()
        self._board = BoardHandle(board)
        self._bundling = bundling
        with self._board.coming_up("plan"):
            from pipelines.plan import Planner

            self._planner = Planner(spec, self._board)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        for titles in table.column("titles").to_pylist():
            yield from plan_bundles(self._planner, [Title.from_json(text) for text in titles], self._bundling)
        self._board.flush()


def plan_bundles(planner: Planner, titles: list[Title], bundling: Bundling) -> Iterator[pa.Table]:
    """Plan titles one after the other and yield their rows packed; short titles share a bundle where there are many."""
    from pipelines.plan import PLANNED

    together = bundling.titles_per_task > 1
    bundler = Bundler(PLANNED, bundling.block_frames, MAX_ROWS if together else 1)
    for title in titles:
        rows = []
        for row in planner.steps(title):
            if row["segment"] == BEAT:
                yield from bundler.rest()
                yield pack([row], PLANNED)
            else:
                rows.append(row)
        if not together:
            bundler.rows_limit = bundling.rows(len(rows) - 1)
        for row in rows:
            yield from bundler.add(row, *frames_of(row))
        if not together:
            yield from bundler.rest()
    yield from bundler.rest()


class GroupActor:
    """A group of stages in an actor pool."""

    def __init__(self, spec: GroupSpec, board: str, block_frames: int) -> None:
        detach_input()
        self._board = BoardHandle(board)
        with self._board.coming_up("+".join(spec.stages)):
            from pipelines.worker import Group

            self._group = Group(spec, self._board, block_frames)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        yield from self._group(table)
        self._board.flush()


class Assembler:
    """Assembles dubs in a process of its own, one after the other; a task for each would start a process for each."""

    def __init__(self) -> None:
        detach_input()

    def run(self, jobs: list[DubJob], keep_segments: bool) -> list[Record]:
        from pipelines.assembly import assemble_dub

        return [assemble_dub(job, keep_segments) for job in jobs]


class AssemblerPool:
    """A few `Assembler` actors, started as they are needed, and the dubs that wait for them: short ones are sent several at a time.

    `run` is called from as many threads as there may be actors: `wanted` times when something was put.
    """

    def __init__(self, num_cpus: float, at_once: int, keep_segments: bool) -> None:
        self._num_cpus, self._at_once, self._keep_segments = num_cpus, at_once, keep_segments
        self._waiting: collections.deque[DubJob] = collections.deque()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._all: list[Any] = []
        self._lock = threading.Lock()

    def put(self, job: DubJob) -> None:
        """Let a complete dub wait."""
        self._waiting.append(job)

    def wanted(self) -> int:
        """How many calls of `run` are worth while for what waits."""
        return min(len(self._waiting), self._at_once)

    def run(self) -> Iterator[tuple[DubJob, Record | Exception]]:
        """Assemble dubs until none waits, a few at a time, in an idle actor; gives each with its record, or with why its actor died three
        times."""
        while jobs := self._taken():
            actor = self._actor()
            try:
                yield from self._assembled(actor, jobs)
            finally:
                self._idle.put(actor)

    def _actor(self) -> Any:
        """An idle actor, or a new one."""
        import ray

        try:
            return self._idle.get_nowait()
        except queue.Empty:
            options = {"num_cpus": self._num_cpus, "max_restarts": -1, "max_task_retries": 2}
            actor = ray.remote(Assembler).options(**options).remote()
            self._all.append(actor)
            return actor

    def _assembled(self, actor: Any, jobs: list[DubJob]) -> Iterator[tuple[DubJob, Record | Exception]]:
        import ray

        try:
            yield from zip(jobs, ray.get(actor.run.remote(jobs, self._keep_segments)), strict=True)
        except ray.exceptions.RayError as problem:
            if len(jobs) == 1:
                yield jobs[0], problem
                return
            for job in jobs:  # one of them did it
                yield from self._assembled(actor, [job])

    def _taken(self) -> list[DubJob]:
        jobs: list[DubJob] = []
        frames = 0
        with self._lock:
            share = min(MAX_ASSEMBLED, -(-len(self._waiting) // self._at_once))
            while len(jobs) < share and (not jobs or frames + self._waiting[0].frames <= FRAMES_ASSEMBLED):
                jobs.append(self._waiting.popleft())
                frames += jobs[-1].frames
        return jobs

    def stop(self) -> None:
        """End the actors."""
        import ray

        for actor in self._all:
            ray.kill(actor)


def start_board(room: float = math.inf, folder: str = "") -> tuple[str, Any]:
    """Start the run's board; it lives as long as the returned handle. Arguments as of `Board`; the folder is on this machine.

    Returns:
        Its name for `BoardHandle`, and the actor's handle.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"board-{uuid.uuid4().hex[:12]}"
    # No CPU: it must never wait behind the pools. On the driver's node: what it knows lives as long as the run.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    actor = ray.remote(Board).options(name=name, namespace=NAMESPACE, **options).remote(room, folder)
    return name, actor


def snapshot_of(board: Any) -> dict[str, Any]:
    """The board's snapshot, from its actor. It is waited for no longer than the progress display may stand still.

    Raises:
        RayLostError: Ray has ended; nobody would answer.
        ray.exceptions.GetTimeoutError: the board has not answered.
    """
    import ray

    if ray_lost():
        raise RayLostError("Ray has ended")
    found: dict[str, Any] = ray.get(board.snapshot.remote(), timeout=BOARD_PATIENCE)
    return found


def _pool(pool: PoolConfig, cpus: int) -> Any:
    from ray.data import ActorPoolStrategy

    low, high, initial = pool.bounds(cpus)
    if low == high:
        return ActorPoolStrategy(size=low, max_tasks_in_flight_per_actor=pool.in_flight)
    return ActorPoolStrategy(min_size=low, max_size=high, initial_size=initial, max_tasks_in_flight_per_actor=pool.in_flight)


@contextmanager
def unhurried(titles: int) -> Iterator[None]:
    """Let Ray Data's scheduler look around less often where a catalogue is large.

    It does so ten times a second however little there is to do, at 5 ms of the driver each time, which in a large catalogue is a third of
    all that a segment costs there; results wait a moment longer. Ray has no setting for it, only this constant of its own: where a version
    has no such constant, nothing happens.
    """
    from ray.data._internal.execution import streaming_executor_state as scheduler

    name = "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S"
    usual = getattr(scheduler, name, None)
    if titles < LARGE or usual is None:
        yield
        return
    setattr(scheduler, name, max(usual, LARGE_WAIT))
    try:
        yield
    finally:
        setattr(scheduler, name, usual)


def stream(
    titles: list[Title], plan: PlanSpec, placed: list[tuple[PoolConfig, GroupSpec]], profile: ProfileConfig, board: str
) -> Iterator[list[Row]]:
    """Run titles through the graph on the connected Ray and yield rows from behind the last stage as they come, in any order, in lists of
    those that have come together.

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

    from pipelines.engine import FINAL
    from pipelines.order import planning_tasks, sizes_for
    from pipelines.plan import PLANNED

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            # What matters is in the rows' errors or raised here; Ray's own log file keeps the rest.
            handler.setLevel(logging.CRITICAL)
    # A pool larger than a short catalogue is no mistake.
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
    cpus = int(ray.cluster_resources().get("CPU", 1))
    context = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 1
    context.downstream_capacity_backpressure_ratio = QUEUED
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = profile.watchdog_seconds
    common: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
    widths = [pool.bounds(cpus)[1] for pool, _ in placed]
    bundling = Bundling(profile.block_frames or profile.segment_frames, len(titles), max(widths, default=1), profile.plan.bounds(cpus)[1])
    with ray.data.DataContext.current(context), unhurried(len(titles)):
        tasks = planning_tasks(sizes_for(titles, bundling), bundling)
        items = [{"titles": [titles[number].to_json() for number in task]} for task in tasks]
        dataset: Any = ray.data.from_items(items, override_num_blocks=len(items))
        dataset = dataset.map_batches(
            PlanActor,
            fn_constructor_args=(plan, board, bundling),
            compute=_pool(profile.plan, cpus),
            num_cpus=profile.plan.num_cpus,
            **common,
        )
        for pool, spec in placed:
            # A block is one bundle whatever the batch; where a pool books GPUs, Ray insists on a number.
            gpus = {"num_gpus": pool.num_gpus, "batch_size": 1} if pool.num_gpus else {}
            dataset = dataset.map_batches(
                GroupActor,
                fn_constructor_args=(spec, board, bundling.block_frames),
                compute=_pool(pool, cpus),
                num_cpus=pool.num_cpus,
                **{**common, **gpus},
            )
        schema = FINAL if placed else PLANNED
        # No prefetching: a receipt is seen when it is there, not when the next one is.
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield _rows(table, schema)


def _rows(table: pa.Table, schema: pa.Schema) -> list[Row]:
    """The rows of a block, without beats."""
    from pipelines.engine import FINAL

    rows = unpack(table, schema)
    plain = rows.to_pylist() if schema.equals(FINAL) else [from_table(rows, schema, index) for index in range(rows.num_rows)]
    return [row for row in plain if row["segment"] != BEAT]
