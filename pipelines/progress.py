"""Progress: one bar with frames, speed and remaining time on a terminal, a plain line now and then in logs; the run's log and metrics."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from pipelines.board import BUNDLE, IN_BUNDLE
from pipelines.runlog import PERIOD, RunLog

#: Seconds between two looks at the run: on a terminal, in a log.
TERMINAL_PERIOD, LOG_PERIOD = 0.5, 30.0


def duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Meter:
    """Speed and remaining time from what is known of a run: titles, frames planned so far, frames done."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def read(self, state: dict[str, Any]) -> dict[str, Any]:
        """Add ``elapsed``, ``fps`` and ``eta`` (None while unknown) to a state of `titles`, `planned_titles`, `planned`, `done`
        (frames)."""
        elapsed = time.monotonic() - self.began
        fps = state["done"] / elapsed if elapsed > 0 else 0.0
        # Titles that are not planned yet are taken to be as long as those that are.
        total = state["planned"] * state["titles"] / max(1, state["planned_titles"])
        eta = (total - state["done"]) / fps if fps > 0 else None
        return {**state, "elapsed": elapsed, "fps": fps, "eta": eta, "expected": round(total)}


class Metrics(Protocol):
    """What takes a run's numbers: `metrics.RunMetrics`."""

    def update(self, state: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]], utilisation: Mapping[str, float]) -> None: ...


def by_stage(board: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The board's counters by stage, with the rows and bundles ``running`` in a pool at the pool's first stage."""
    stages: dict[str, dict[str, Any]] = {name: {**count, "running": 0} for name, count in board["stages"].items()}
    for key in board.get("running", ()):
        if key.endswith(IN_BUNDLE):  # its bundle is listed too
            continue
        first = key.removesuffix(BUNDLE).rsplit(" ", 1)[-1].split("+")[0]
        empty = {"rows": 0, "frames": 0, "seconds": 0.0, "errors": 0, "running": 0}
        stages.setdefault(first, empty)["running"] += 1
    return stages


class Progress:
    """Shows a run while it lasts, and writes its log and its metrics. Context manager; looks at the run from a thread of its own.

    Args:
        state: gives ``{titles, planned_titles, ended, failed, planned, done}``; called from the thread.
        board: gives the board's snapshot.
        stages: the engine's stages in order.
        stream: where to write; None: nothing is shown.
        log: the run's log, written every `runlog.PERIOD` seconds and at the end.
        nodes: gives how many nodes of each form there are, for the log.
        metrics: set as often.
    """

    def __init__(
        self,
        state: Callable[[], dict[str, Any]],
        board: Callable[[], dict[str, Any]],
        stages: list[str],
        stream: TextIO | None = sys.stderr,
        log: RunLog | None = None,
        nodes: Callable[[], Mapping[str, int]] = dict,
        metrics: Metrics | None = None,
    ) -> None:
        self._state, self._board, self._stages, self._stream = state, board, ["plan", *stages], stream
        self._log, self._nodes, self._metrics = log, nodes, metrics
        self._terminal = stream is not None and stream.isatty()
        self._stop = threading.Event()
        self._meter = Meter()
        self._bar: Any = None
        self._counted: tuple[float, dict[str, dict[str, Any]]] = (time.monotonic(), {})
        #: Why the log or the metrics could not be written last time, "" if they could. A run goes on without them.
        self.problem = ""
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        if self._terminal:
            self._bar = tqdm(
                total=0, unit="frame", file=self._stream, dynamic_ncols=True, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {postfix}"
            )
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._log is not None or self._metrics is not None:
            self._record("ended" if kind is None else "interrupted")
        if self._bar is not None:
            self._bar.close()
        if self.problem and self._stream is not None:
            print(f"the run's log and metrics are not complete: {self.problem}", file=self._stream)

    def _watch(self) -> None:
        periods: dict[Callable[[], None], float] = {}
        if self._stream is not None:
            periods[self._show] = TERMINAL_PERIOD if self._terminal else LOG_PERIOD
        if self._log is not None or self._metrics is not None:
            periods[self._record] = PERIOD
        # The log is there at once, so that `retalk status` finds it; what is shown waits until there is something to show.
        due = {action: time.monotonic() + (period if action == self._show else 0.0) for action, period in periods.items()}
        while due and not self._stop.wait(max(0.0, min(due.values()) - time.monotonic())):
            for action in [action for action, when in due.items() if when <= time.monotonic()]:
                action()
                due[action] = time.monotonic() + periods[action]

    def _record(self, outcome: str = "running") -> None:
        """Write the log and set the metrics."""
        try:
            state, board = self._meter.read(self._state()), self._board()
            stages = by_stage(board)
            if self._log is not None:
                self._log.write(state, {"stages": stages}, self._nodes(), outcome)
            if self._metrics is not None:
                self._metrics.update(state, *self._measured(stages))
        except Exception as problem:  # a store that does not answer, a board that is being restarted: the next time will do
            self.problem = f"{type(problem).__name__}: {problem}"
        else:
            self.problem = ""

    def _measured(self, stages: dict[str, dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
        """Every stage with its pool, and how busy each was since the last time."""
        now = time.monotonic()
        then, before = self._counted
        self._counted = now, stages
        placed = self._log.placed if self._log is not None else {}
        full, busy = {}, {}
        for name in self._stages:
            pool, _, _, most = placed.get(name, ("", 0.0, 0.0, 1))
            full[name] = {"rows": 0, "frames": 0, "seconds": 0.0, "errors": 0, "running": 0, **stages.get(name, {}), "pool": pool}
            worked = full[name]["seconds"] - before.get(name, {}).get("seconds", 0.0)
            busy[name] = max(0.0, worked / max(1e-3, now - then) / max(1, most))
        return full, busy

    def _show(self) -> None:
        state = self._meter.read(self._state())
        try:
            stages = self._board()["stages"]
        except Exception as problem:  # the board is being restarted
            self.problem = f"{type(problem).__name__}: {problem}"
            return
        at = " ".join(f"{name} {int(stages[name]['rows'])}" for name in self._stages if name in stages)
        eta = f"{duration(state['eta'])} left" if state["eta"] is not None else "starting" if not stages else "…"
        failed = f", {state['failed']} failed" if state["failed"] else ""
        titles = f"{state['ended']}/{state['titles']} titles{failed}"
        if self._bar is not None:
            self._bar.total, self._bar.n = max(state["expected"], state["done"]), state["done"]
            self._bar.set_description_str(titles, refresh=False)
            self._bar.set_postfix_str(f"{state['fps']:.1f} frames/s, {eta} | {at}", refresh=False)
            self._bar.refresh()
        else:
            frames = f"{state['done']}/{state['expected']} frames, {state['fps']:.1f} frames/s"
            print(f"[{duration(state['elapsed'])}] {titles}, {frames}, {eta} | {at}", file=self._stream, flush=True)
