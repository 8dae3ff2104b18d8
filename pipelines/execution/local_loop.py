"""A run in this process: the same planner and the same groups of stages as on Ray, in a plain loop.

Tests hold Ray's output against this loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from operators.media.kept_frames import KEPT
from pipelines.engine.engine import FINAL
from pipelines.engine.rows import SEGMENT, Row, empty_row
from pipelines.engine.specs import GroupSpec, PlanSpec
from pipelines.execution.assembly import assemble_dub
from pipelines.execution.collector import Collector
from pipelines.execution.ray_session import machine_cpus
from pipelines.execution.run_spec import RunSpec
from pipelines.execution.worker import Group
from pipelines.manifest.titles import Title
from pipelines.monitoring.progress import Progress
from pipelines.monitoring.run_log import node_shape
from pipelines.planning.planner import Planner
from pipelines.state.coordinator import Coordinator
from pipelines.state.lock import RunLock
from retalk_models.inference.allocator import trim_heaps


def run_in_process(spec: RunSpec, lock: RunLock, progress: Progress) -> Collector:
    """Run titles in this process, each dub assembled as soon as it is complete.

    Args:
        spec: the run.
        lock: of the run directory; held as long as the run lasts.
        progress: display that watches the run.

    Returns:
        The collector, with a record for each dub that has ended.
    """
    coordinator = Coordinator(spec.cache_bytes)
    collector = spec.collector(lambda dub: collector.ended(assemble_dub(dub, spec.assembly)))
    placed = spec.placement(isolated=False)

    def take(row: Row) -> None:
        lock.check()
        collector.take(row)

    nodes = {node_shape(machine_cpus(), 0): 1}
    log = spec.log(placed, 1)
    with progress.watch(collector.state, coordinator.snapshot, spec.stage_words, log, lambda: nodes):
        run_local(spec.titles, spec.plan, [group for _, group in placed], take, coordinator)
    return collector


def run_local(
    titles: list[Title],
    plan: PlanSpec,
    groups: list[GroupSpec],
    take: Callable[[Row], None],
    coordinator: Coordinator,
) -> None:
    """Run titles one after the other, depth first.

    Args:
        titles: titles to dub.
        plan: the planner's specification.
        groups: the groups' specifications, in order.
        take: called with each row from behind the last stage.
        coordinator: attempts and counters.
    """
    planner = Planner(plan, coordinator)
    if any(stage.stage.takes_frames for stage in planner.context.engine.stages):
        # The planner decodes a title before there are workers that could ask.
        KEPT.ask(planner)
    workers: list[Group] = []

    def through(row: Row, position: int) -> Iterator[Row]:
        if position == len(groups):
            yield row
            return
        if row["error"] or row["kind"] != SEGMENT:
            yield empty_row(FINAL, row)
            return
        while len(workers) <= position:
            # A group is set up when its first row comes: a run whose titles all fail at planning loads
            # nothing.
            workers.append(Group(groups[len(workers)], coordinator))
        for result in workers[position].process(row):
            yield from through(result, position + 1)

    try:
        for title in titles:
            for row in planner.plan(title):
                for result in through(row, 0):
                    take(result)
    finally:
        # `through` refers to itself: without this, networks would wait for the garbage collector.
        workers.clear()
        KEPT.dismiss()
        trim_heaps()
