"""`run_local`: the same planner and the same groups in a plain loop, without Ray. The oracle that Ray's
output is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.engine.engine import FINAL
from pipelines.engine.rows import Row, empty_row
from pipelines.engine.specs import GroupSpec, PlanSpec
from pipelines.execution.worker import Group
from pipelines.manifest.titles import Title
from pipelines.planning.planner import Planner
from pipelines.state.coordinator import Coordinator


def run_local(
    titles: list[Title],
    plan: PlanSpec,
    groups: list[GroupSpec],
    take: Callable[[Row], None],
    coordinator: Coordinator,
) -> None:
    """Run titles one after the other, depth first.

    Args:
        titles: what to dub.
        plan: the planner's specification.
        groups: the groups' specifications, in order.
        take: called with each row from behind the last stage.
        coordinator: attempts and counters.
    """
    planner = Planner(plan, coordinator)
    workers: list[Group] = []

    def through(row: Row, position: int) -> Iterator[Row]:
        if position == len(groups):
            yield row
            return
        if row["error"] or row["segment"] < 0:
            yield empty_row(FINAL, row)
            return
        while len(workers) <= position:
            # A group is set up when its first row comes: a run whose titles all fail at planning loads
            # nothing.
            workers.append(Group(groups[len(workers)], coordinator))
        for result in workers[position].process(row):
            yield from through(result, position + 1)

    for title in titles:
        for row in planner.plan(title):
            for result in through(row, 0):
                take(result)
