"""A title's dubs before anything is opened: their content keys, and which of them are done."""

from __future__ import annotations

from collections.abc import Collection

from operators.storage.files import filesystem, fingerprint, suffix
from pipelines.manifest.titles import SUFFIXES, Title
from pipelines.planning.context import PlanContext
from pipelines.planning.plans import DubPlan
from pipelines.state.changes import GONE, RECOMPUTED, changes, readable
from pipelines.state.content_keys import content_key, output_ingredients, output_key, segment_ingredients


def dub_plans(
    context: PlanContext, title: Title, done: Collection[str] | None, rejected: list[str]
) -> list[DubPlan]:
    """Each dub with its content key, or as done already, or as one that cannot be made. Touches no media.

    Args:
        context: of the run.
        title: a video with its dubs.
        done: names of the dubs that are done, if that has been decided; None: it is found out.
        rejected: descriptions of state that was found and is not used are added here.

    Raises:
        MediaError: the video cannot be found.
    """
    video = fingerprint(title.video)
    plans = []
    for dub in title.dubs:
        plan = DubPlan(title.id, title.video, dub)
        plans.append(plan)
        if dub.error:
            plan.fail(dub.error)
            continue
        if suffix(dub.output) not in SUFFIXES:
            plan.fail(f"{dub.output}: an output's name ends in {', '.join(SUFFIXES)}")
            continue
        try:
            made_of = segment_ingredients(
                context.engine, title, dub, video, context.spec.segment_frames, context.provenance
            )
        except ValueError as problem:
            plan.fail(str(problem))
            continue
        plan.key = content_key(made_of)
        plan.ingredients = readable({**made_of, **output_ingredients(dub)})
        _compare(context, plan, done, rejected)
    return plans


def _compare(context: PlanContext, plan: DubPlan, done: Collection[str] | None, rejected: list[str]) -> None:
    """Say whether a dub is done: a record of the same inputs and options is there, and its output. If not,
    note what has changed.
    """
    record = context.run.read_record(plan.title, plan.dub.dub, rejected)
    finished = record is not None and record["state"] == "done"
    same = record is not None and finished and record.get("key") == output_key(plan.key, plan.dub)
    if done is not None:
        is_done = plan.dub.dub in done
    else:
        is_done = same and record is not None and _size(plan.dub.output) == record.get("size")
    if is_done:
        plan.state = "done"
    elif record is not None and finished:
        why = {GONE: "the output is gone"} if same else changes(record, plan.ingredients)
        plan.changed = list(why)
        plan.notes.append(f"{RECOMPUTED}{'; '.join(why.values())}")


def _size(url: str) -> int | None:
    """Size of a file, None where it is missing."""
    fs, path = filesystem(url)
    return int(fs.size(path)) if fs.exists(path) else None
