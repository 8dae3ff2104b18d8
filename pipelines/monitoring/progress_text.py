"""A run's numbers as text: pure functions from counts to the text that a terminal, a log and `retalk status`
show.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.monitoring.formatting import count, duration

#: A rate means something from so many commits on, over at least so many seconds; it is taken over the last
#: minute, or longer where commits are rare.
COMMITS, SECONDS, WINDOW = 4, 10.0, 60.0
#: Seconds between two writings of a run's log.
PERIOD = 5.0
#: Seconds after which a worker that is not up is reported as slow, and after which the line of the progress
#: display says what it is doing.
SLOW_START, LONG_START = float(os.environ.get("RETALK_SLOW_START") or 60.0), 5.0


class Meter:
    """Expected frames, rate and remaining time, from counts that are read again and again.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.began = clock()
        #: When frames were committed, and how many there were then.
        self._commits: list[tuple[float, int]] = []

    def read(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Add to a state of ``titles``, ``planned_titles``, ``hopeless`` (titles refused before planning that
        have not come out of it), ``planned``, ``analysed``, ``done`` (frames): ``elapsed`` (s), ``fps`` (over
        the whole run), ``waiting`` (titles to be planned), ``expected``, ``expected_analysed`` (frames), and
        ``rate`` (frames per second of late) and ``eta`` (s), both None while unknown.
        """
        now = self._clock()
        done = int(state["done"])
        if done and (not self._commits or self._commits[-1][1] != done):
            self._commits.append((now, done))
        elapsed = now - self.began
        waiting = max(0, state["titles"] - state["planned_titles"] - state.get("hopeless", 0))
        # Titles that wait to be planned are taken to be like those that are; those that are refused already
        # are expected to do nothing.
        more = waiting / max(1, state["planned_titles"])
        expected, analysed = (round(state.get(kind, 0) * (1 + more)) for kind in ("planned", "analysed"))
        rate = self._rate(now)
        eta = max(0.0, expected - done) / rate if rate else None
        fps = done / elapsed if elapsed > 0 else 0.0
        numbers = {"elapsed": elapsed, "fps": fps, "rate": rate, "eta": eta}
        return {**state, **numbers, "waiting": waiting, "expected": expected, "expected_analysed": analysed}

    def _rate(self, now: float) -> float | None:
        """Frames per second since the first of the commits that count: the first ones of a run come late,
        after everything has started.
        """
        recent = sum(now - when < WINDOW for when, _ in self._commits)
        self._commits = self._commits[-max(COMMITS, recent + 1) :]
        if len(self._commits) < COMMITS or now - self._commits[0][0] < SECONDS:
            return None
        (then, before), (_, after) = self._commits[0], self._commits[-1]
        return (after - before) / (now - then)


@dataclass(frozen=True)
class StageWords:
    """Wording of a stage: its name in the engine, its activity ("finding faces"), and the unit that it runs once
    per.
    """

    name: str
    words: str
    per: Literal["segment", "dub"] = "dub"


def stage_words(stages: Iterable[Any]) -> list[StageWords]:
    """Return the wording of stages (`operators.stage.Stage`) in order; a stage without any is shown by its name."""
    return [
        StageWords(stage.name, stage.doing or stage.name.replace("_", " "), stage.per) for stage in stages
    ]


@dataclass(frozen=True)
class Shown:
    """A moment of a run as text.

    Attributes:
        counts: titles, frames, rate and remaining time, each where it means something.
        doing: activities in progress, each with its frames.
        fraction: of all stages' work that is done, 0 to 1; None while unknown.
        warnings: workers that do not come up.
    """

    counts: list[str]
    doing: list[str]
    fraction: float | None
    warnings: list[str]

    def line(self, elapsed: float) -> str:
        """All of it as one line of a log."""
        parts = [", ".join(self.counts), ", ".join(self.doing), *self.warnings]
        return f"[{duration(elapsed)}] " + "; ".join(part for part in parts if part)


def describe(state: Mapping[str, Any], coordinator: Mapping[str, Any], stages: Sequence[StageWords]) -> Shown:
    """Describe a run.

    Args:
        state: counts as `Meter.read` gives them, with ``ended`` and ``failed`` (titles) and ``assembling``
            (dubs).
        coordinator: the coordinator's snapshot: ``stages`` (counters by stage), and where they are known
            ``working`` (rows at work by stage), ``at`` (frames of these rows that are finished, by stage),
            ``starting`` (workers that are not up: ``{group, node, pid, seconds, state}``).
        stages: of the engine, in order.
    """
    counters: Mapping[str, Mapping[str, Any]] = coordinator.get("stages", {})
    working: Mapping[str, int] = coordinator.get("working", {})
    doing, fractions = [], []
    starting = sorted({str(worker["group"]) for worker in coordinator.get("starting", ())})
    if state["waiting"] and not (starting and not state["planned_titles"]):
        doing.append(
            "planning"
            if state["titles"] == 1
            else f"planning {state['planned_titles']}/{state['titles']} titles"
        )
    for stage in stages:
        wanted = state["expected_analysed"] if stage.per == "segment" else state["expected"]
        frames = counters.get(stage.name, {}).get("frames", 0) + coordinator.get("at", {}).get(stage.name, 0)
        ready = max(0, min(int(frames), wanted))
        if wanted:
            fractions.append(ready / wanted)
        if ready < wanted and (ready or working.get(stage.name)):
            doing.append(f"{stage.words} {ready}/{wanted} frames")
    if state.get("assembling"):
        doing.append(
            "assembling" if state["titles"] == 1 else f"assembling {count(state['assembling'], 'video')}"
        )
    if starting and not doing:
        doing.append(f"starting workers ({_starting(coordinator['starting'])})")
    if not doing:
        doing.append("finishing" if state["ended"] >= state["titles"] else "loading what the stages need")
    warnings = [
        slow_start(worker)
        for worker in coordinator.get("starting", ())
        if float(worker["seconds"] or 0) >= SLOW_START
    ]
    return Shown(_counts(state), doing, sum(fractions) / len(fractions) if fractions else None, warnings)


def _starting(workers: Sequence[Mapping[str, Any]]) -> str:
    """Groups whose workers are starting, each with what its slowest one is doing where that takes long."""
    slowest: dict[str, Mapping[str, Any]] = {}
    for worker in sorted(workers, key=lambda one: float(one["seconds"] or 0)):
        slowest[str(worker["group"])] = worker
    parts = []
    for group, worker in sorted(slowest.items()):
        long = float(worker["seconds"] or 0) >= LONG_START and worker.get("state")
        parts.append(f"{group}: {worker['state']}, {duration(float(worker['seconds']))}" if long else group)
    return ", ".join(parts)


def _counts(state: Mapping[str, Any]) -> list[str]:
    counts = []
    if state["titles"] > 1:
        counts.append(f"{state['ended']}/{state['titles']} titles")
    if state["failed"]:
        counts.append(f"{state['failed']} failed")
    if state["expected"] and (state["titles"] > 1 or state["done"]):  # of a single title, the stages show it
        about = "about " if state["waiting"] else ""
        counts.append(f"{state['done']}/{about}{state['expected']} frames")
    if state["rate"] is not None:
        counts.append(f"{state['rate']:.1f} frames/s")
    if state["eta"] is not None and state["done"] < state["expected"]:
        counts.append(f"about {duration(state['eta'])} left")
    return counts


def slow_start(worker: Mapping[str, Any]) -> str:
    """Describe a worker that is not up; `worker` is an entry of the coordinator's ``starting``."""
    process = f"process {worker['pid']} on {worker['node']}" if worker.get("pid") else "no process yet"
    said = f", {worker['state']}" if worker.get("state") else ""
    return f"a worker of {worker['group']} has not come up for {duration(float(worker['seconds']))} ({process}{said})"
