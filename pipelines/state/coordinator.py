"""The coordinator: attempts by row, and counters of the stages. One per run; in a Ray run a small named actor."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from operators.media.reading import reads_told_to

#: A row that was begun this often and never ended has killed its workers.
MAX_ATTEMPTS = 3


class WorkKey(NamedTuple):
    """A row or a batch that a pool works on: attempts are counted for it.

    Attributes:
        stages: of the pool; ("plan",) for a planner.
        title: its id; of a batch, of its first row.
        segment: its number; None for a title's plan.
        dub: its name; "" before the dubs part.
        output_segment: its number in segment and dub; None before the dubs part.
        unit: ``row`` by itself, ``batch`` of several rows, or a ``row in batch``, which is counted beside it.
    """

    stages: tuple[str, ...]
    title: str
    segment: int | None = None
    dub: str = ""
    output_segment: int | None = None
    unit: Literal["row", "batch", "row in batch"] = "row"


class Coordinator:
    """Attempts by row, and counters by stage for the progress display. All methods are cheap.

    Args:
        room: bytes that may be added to the analysis cache.
        folder: on this machine, where decisions are written down: a coordinator that is started again after
            it was killed must know them, for a title that is planned again otherwise gives other rows, and
            Ray takes them for those that it has. "": they are not.
    """

    def __init__(self, room: float = math.inf, folder: str = "") -> None:
        self._room = room
        self._file = Path(folder, "decisions.jsonl") if folder and Path(folder).is_dir() else None
        self._begun: dict[WorkKey, int] = {}
        self._reading: dict[WorkKey, str] = {}
        self._stages: dict[str, dict[str, float]] = {}
        self._working: dict[str, int] = {}
        self._at: dict[str, float] = {}
        self._decided: dict[str, str] = dict(self._written())
        self._workers: dict[str, dict[str, Any]] = {}
        self._counting = threading.Lock()  # a worker in this process may count from several threads

    def _written(self) -> list[tuple[str, str]]:
        """Read the decisions of an earlier process of this coordinator; a line that was cut off does not count."""
        if self._file is None or not self._file.exists():
            return []
        lines = self._file.read_text(encoding="utf-8").split("\n")
        if lines[-1]:
            self._file.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")
        return [tuple(json.loads(line)) for line in lines[:-1]]

    def begin(self, key: WorkKey) -> int:
        """Note that a row is being begun; returns how often it was, this time included, without having ended."""
        self._begun[key] = self._begun.get(key, 0) + 1
        return self._begun[key]

    def end(self, key: WorkKey) -> None:
        """Note that a row ended, well or with an error: its attempts are forgotten."""
        self._begun.pop(key, None)
        self._reading.pop(key, None)

    def reading(self, key: WorkKey, url: str) -> None:
        """Note which file is being read for a row that has killed a worker before."""
        self._reading[key] = url

    def last_read(self, key: WorkKey) -> str:
        """Return the file that was being read when a row killed its worker; empty if that is not known."""
        return self._reading.get(key, "")

    def decide(self, title: str, decision: str) -> None:
        """Keep what was decided for a title (a planner's text), to the end of the run: planned again after its
        worker died, it gets the same rows.
        """
        self._decided[title] = decision
        if self._file is not None:
            line = json.dumps([title, decision])
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def decided(self, title: str) -> str | None:
        """Return the earlier decision of this run, None if there is none."""
        return self._decided.get(title)

    def begin_plan(self, title: str) -> tuple[int, str | None]:
        """`begin` and `decided`."""
        return self.begin(WorkKey(("plan",), title)), self.decided(title)

    def claim(self, size: int) -> bool:
        """Take so many bytes of the analysis cache's room, if there are as many."""
        if size > self._room:
            return False
        self._room -= size
        return True

    def note(self, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        """Several calls in one: names of methods with their arguments."""
        for name, arguments in calls:
            getattr(self, name)(*arguments)

    def after(self, calls: list[tuple[str, tuple[Any, ...]]], name: str, key: WorkKey | str) -> Any:
        """`note`, then the answer of a method: `begin` or `begin_plan`."""
        self.note(calls)
        return getattr(self, name)(key)

    def stage_begun(self, stage: str) -> None:
        """Note that a stage has begun with a row."""
        with self._counting:
            self._working[stage] = self._working.get(stage, 0) + 1

    def stage_at(self, stage: str, frames: float) -> None:
        """Note how many more frames of the row that it works on a stage has finished; what is noted is taken
        back before `stage_done`.
        """
        with self._counting:
            self._at[stage] = self._at.get(stage, 0.0) + frames

    def stage_done(self, stage: str, frames: int, seconds: float, error: bool) -> None:
        """Note that a stage has finished with a row."""
        with self._counting:
            self._working[stage] = max(0, self._working.get(stage, 0) - 1)
            count = self._stages.setdefault(stage, {"rows": 0, "frames": 0, "seconds": 0.0, "errors": 0})
            count["rows"] += 1
            count["frames"] += frames
            count["seconds"] += seconds
            count["errors"] += error

    def starting(self, worker: str, group: str, node: str, pid: int, phase: str) -> None:
        """Note that a worker's process is there, and what it is doing before it can take rows.

        Args:
            worker: its id, which stays when its process is started again.
            group: names of its stages.
            node: host name.
            pid: of its process.
            phase: in words, such as "importing".
        """
        known = self._workers.get(worker, {})
        since = known["since"] if known.get("pid") == pid else time.monotonic()
        self._workers[worker] = {
            "group": group,
            "node": node,
            "pid": pid,
            "phase": phase,
            "since": since,
            "up": False,
        }

    def up(self, worker: str) -> None:
        """Note that a worker can take rows."""
        if worker in self._workers:
            self._workers[worker]["up"] = True

    def snapshot(self) -> dict[str, Any]:
        """Counters, rows at work, and workers.

        Returns:
            ``{"stages": {name: {rows, frames, seconds, errors}}, "working": {name: rows}, "at": {name:
            frames}, "running": [keys], "starting": [{group, node, pid, phase, seconds}], "workers": {group:
            how many have been seen}}``.
        """
        seen: dict[str, int] = {}
        starting = []
        for worker in self._workers.values():
            seen[worker["group"]] = seen.get(worker["group"], 0) + 1
            if not worker["up"]:
                told = {name: worker[name] for name in ("group", "node", "pid", "phase")}
                starting.append({**told, "seconds": round(time.monotonic() - worker["since"], 1)})
        return {
            "stages": {name: dict(count) for name, count in self._stages.items()},
            "working": dict(self._working),
            "at": dict(self._at),
            "running": sorted(self._begun, key=repr),
            "starting": starting,
            "workers": seen,
        }


def noted_reads(
    coordinator: CoordinatorProtocol, key: WorkKey, attempts: int
) -> Callable[[], AbstractContextManager[None]]:
    """Make contexts in which the coordinator is told of each file that is read for a row, if the row has
    killed a worker before: for others a call for each file would cost more than it is worth.
    """
    if attempts < 2:
        return nullcontext
    return lambda: reads_told_to(lambda url: coordinator.reading(key, url))


class CoordinatorProtocol(Protocol):
    """The coordinator as workers see it, in this process or in another."""

    def begin(self, key: WorkKey) -> int: ...
    def begin_plan(self, title: str) -> tuple[int, str | None]: ...
    def end(self, key: WorkKey) -> None: ...
    def reading(self, key: WorkKey, url: str) -> None: ...
    def last_read(self, key: WorkKey) -> str: ...
    def stage_begun(self, stage: str) -> None: ...
    def stage_at(self, stage: str, frames: float) -> None: ...
    def stage_done(self, stage: str, frames: int, seconds: float, error: bool) -> None: ...
    def decide(self, title: str, decision: str) -> None: ...
    def claim(self, size: int) -> bool: ...
