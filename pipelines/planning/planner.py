"""The planner: a title becomes its plan, for the driver, and a row for each segment with something to compute.

Runs once per title, in an actor of its own pool or in a plain loop. The plan comes first, in the column `meta` of a
row of the kind ``plan``, then the segments' rows. Nothing raised here leaves: a title that cannot be planned is a plan
with an error.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Generator, Iterator

from operators.media.limits import LimitError, MediaLimits
from operators.media.probe import probe_video
from operators.storage.errors import MediaError
from operators.storage.looks import one_look_per_file
from operators.threads import single_thread
from pipelines.engine.rows import HEARTBEAT, PLAN_ROW, Row, empty_row
from pipelines.engine.specs import PlanSpec
from pipelines.manifest.titles import Dub, Title, is_picture
from pipelines.planning.context import PlanContext
from pipelines.planning.dubs import dub_plans
from pipelines.planning.heartbeat import Heartbeats, heartbeats_of
from pipelines.planning.plans import Decision, DubPlan, Receipt, TitlePlan, decode, encode
from pipelines.planning.segment_rows import PLANNED, segment_rows
from pipelines.state.coordinator import MAX_ATTEMPTS, CoordinatorProtocol, WorkKey, noted_reads
from pipelines.state.run_directory import REJECTED_STATE


class Planner:
    """Plans titles for one engine into one run directory.

    Args:
        spec: engine, run directory, the profile's segment length.
        coordinator: attempts: a video that kills its planner becomes an error after three tries.
    """

    def __init__(self, spec: PlanSpec, coordinator: CoordinatorProtocol) -> None:
        self.context, self.coordinator = PlanContext.of(spec), coordinator
        single_thread()

    def plan(self, title: Title) -> Iterator[Row]:
        """Plan one title: its plan, then its rows."""
        return (row for row in self.steps(title) if row["kind"] != HEARTBEAT)

    def steps(self, title: Title) -> Iterator[Row]:
        """`plan`, with heartbeats before the plan of a long title: rows that only say that its planner is alive (see
        `Heartbeats`).
        """
        began, key = time.perf_counter(), WorkKey(("plan",), title.id)
        attempts, decided = self.coordinator.begin_plan(title.id)
        decision = decode(Decision, decided) if decided else None
        heartbeats = Heartbeats(title.id, decision.heartbeats if decision else 0, PLANNED)
        plan, rows, error = TitlePlan(title), list[Row](), title.error
        rejected: list[str] = []
        try:
            with noted_reads(self.coordinator, key, attempts)():
                if attempts > MAX_ATTEMPTS:
                    spared = self._without_deadly_speech(title, key, attempts)
                    error = "" if spared else self._death(title, key)
                    plan.title = spared or title
                if not error:
                    with one_look_per_file():
                        rows = yield from self._planned(plan, decision, heartbeats, rejected)
        except Exception as problem:
            expected = isinstance(problem, ValueError)
            error = str(problem) if expected else f"plan: {type(problem).__name__}: {problem}"
            plan.traceback = traceback.format_exc(limit=-8)
        if error:
            plan.dubs = plan.dubs or [DubPlan(title.id, title.video, dub) for dub in title.dubs]
            for dub in plan.dubs:
                if dub.state != "done":
                    dub.fail(dub.error or error)
        if rejected and plan.dubs:
            next(iter(plan.running), plan.dubs[0]).notes.append(_rejected_note(rejected))
        plan.seconds = round(time.perf_counter() - began, 4)
        self.coordinator.end(key)
        self.coordinator.stage_done("plan", plan.frames, plan.seconds, bool(error))
        yield from heartbeats.rest()
        values = {"kind": PLAN_ROW, "segment_id": title.id, "title": title.id, "video": title.video}
        yield empty_row(PLANNED, {**values, "error": error, "meta": encode(plan)})
        yield from rows

    def _death(self, title: Title, key: WorkKey) -> str:
        """Say what a title did to its planners, and which file they were reading."""
        culprit = self.coordinator.last_read(key)
        doing = f"reading {culprit}" if culprit else f"planning {title.video}"
        return f"{doing} killed its worker {MAX_ATTEMPTS} times in a row: is the file damaged? See Ray's worker logs"

    def _without_deadly_speech(self, title: Title, key: WorkKey, attempts: int) -> Title | None:
        """The title with an error for the dubs whose speech killed its planners; None where the file is no speech, no other dub
        is left, or another one has killed them since.
        """
        culprit = self.coordinator.last_read(key)
        spared = [dub for dub in title.dubs if culprit not in dub.speeches]
        if attempts > MAX_ATTEMPTS + 1 or not spared or len(spared) == len(title.dubs):
            return None
        error = self._death(title, key)
        dubs = (
            dub if culprit not in dub.speeches else dataclasses.replace(dub, error=error)
            for dub in title.dubs
        )
        return dataclasses.replace(title, dubs=tuple(dubs))

    def _planned(
        self, plan: TitlePlan, decision: Decision | None, heartbeats: Heartbeats, rejected: list[str]
    ) -> Generator[Row, None, list[Row]]:
        """Fill a title's plan, and return its rows; yields heartbeats."""
        title, limits = plan.title, self.context.spec.limits
        plan.dubs = dub_plans(self.context, title, decision.done if decision else None, rejected)
        if decision is None:
            found = self.context.run.committed(title.id, rejected) if plan.running else {}
            decision = Decision(
                [dub.dub.dub for dub in plan.dubs if dub.state == "done"],
                [(which, Receipt.of(receipt)) for which, receipt in found.items()],
            )
            self.coordinator.decide(title.id, encode(decision))
        if not plan.running:
            return []
        info = probe_video(title.video, limits)
        for face in title.faces:
            if is_picture(face):
                _check_picture(face, limits)
        if heartbeats_of(info.n_frames) != heartbeats.total:
            heartbeats.total = decision.heartbeats = heartbeats_of(info.n_frames)
            self.coordinator.decide(title.id, encode(decision))
        committed = dict(decision.committed)
        return (yield from segment_rows(self.context, plan, info, committed, heartbeats, rejected))

    def left(self, title: Title) -> list[Dub]:
        """The dubs of a title that have something to do, as far as that can be told without opening its
        media.
        """
        if title.error:
            return []
        try:
            return [plan.dub for plan in dub_plans(self.context, title, None, []) if plan.state == "run"]
        except ValueError:
            return []  # it fails as soon as it is planned


def _check_picture(face: str, limits: MediaLimits) -> None:
    """Look at the picture of a face as at other files; `MediaError` says that it is one."""
    try:
        probe_video(face, limits)
    except LimitError:
        raise
    except MediaError as problem:
        raise MediaError(f"the picture of the face: {problem}") from problem


def _rejected_note(rejected: list[str]) -> str:
    """Return the note on state that was found and not used."""
    more = f" and {len(rejected) - 3} more" if len(rejected) > 3 else ""
    return f"{REJECTED_STATE}{'; '.join(rejected[:3])}{more}: the work is done again"
