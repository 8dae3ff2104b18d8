"""Progress of a run or command as text: a bar on a terminal, a plain line now and then in logs; the run's log
and metrics.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pipelines.monitoring.formatting import duration
from pipelines.monitoring.progress_text import PERIOD, Meter, Shown, StageWords, describe
from pipelines.monitoring.terminal import fitted, shows_bar, tell

if TYPE_CHECKING:
    from pipelines.monitoring.run_log import RunLog

__all__ = ["MetricsExporter", "Progress", "by_stage", "duration"]

#: Seconds between two looks at the run: on a terminal, in a log. A log hears of what is done before that
#: where it lasts this long.
TERMINAL_PERIOD, LOG_PERIOD, PHASE_PATIENCE = 0.25, 30.0, 1.5
#: Logger of the file of `--log-file`.
LOGGER = logging.getLogger("retalk")


class MetricsExporter(Protocol):
    """Receiver of a run's numbers, such as `prometheus.PrometheusExporter`."""

    def update(
        self,
        state: Mapping[str, Any],
        stages: Mapping[str, Mapping[str, Any]],
        utilisation: Mapping[str, float],
    ) -> None: ...


def by_stage(coordinator: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The coordinator's counters by stage, with the rows and batches ``running`` in a pool at the pool's
    first stage.
    """
    stages: dict[str, dict[str, Any]] = {
        name: {**count, "running": 0} for name, count in coordinator["stages"].items()
    }
    for key in coordinator.get("running", ()):
        if key.unit == "row in batch":  # its batch is listed too
            continue
        first = key.stages[0]
        empty = {"rows": 0, "frames": 0, "seconds": 0.0, "errors": 0, "running": 0}
        stages.setdefault(first, empty)["running"] += 1
    return stages


@dataclass
class _Run:
    """A run that is being watched."""

    state: Callable[[], dict[str, Any]]
    coordinator: Callable[[], dict[str, Any]]
    stages: Sequence[StageWords]
    log: RunLog | None
    nodes: Callable[[], Mapping[str, int]]
    metrics: MetricsExporter | None
    meter: Meter = field(default_factory=Meter)
    counted: tuple[float, dict[str, dict[str, Any]]] = field(default_factory=lambda: (time.monotonic(), {}))


class Progress:
    """Shows the progress of a command. Context manager; polls it from a thread of its own.

    Args:
        stream: where to write; None: nothing is shown.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = _own(stream)
        self._bar = None if not shows_bar(stream) or stream is None else _Bar(stream)
        self._began = time.monotonic()
        self._phase, self._phase_since, self._phase_said = "", self._began, True
        self._run: _Run | None = None
        self._stop, self._lock = threading.Event(), threading.RLock()
        #: Why the run's log or metrics could not be written last time, "" if they could. The run continues
        #: without them.
        self.problem = ""
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    @classmethod
    @contextmanager
    def of(cls, shown: Progress | TextIO | None) -> Iterator[Progress]:
        """A progress display that somebody else has opened, or a new one on a stream."""
        if isinstance(shown, Progress):
            yield shown
        else:
            with cls(shown) as made:
                yield made

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away: what is printed from now on is all that is left. May be called again."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def phase(self, words: str) -> None:
        """Show a phase where no run is watched, such as "starting Ray"."""
        with self._lock:
            if words != self._phase:
                self._phase, self._phase_since, self._phase_said = words, time.monotonic(), False
                LOGGER.info("%s", words)

    @contextmanager
    def watch(
        self,
        state: Callable[[], dict[str, Any]],
        coordinator: Callable[[], dict[str, Any]],
        stages: Sequence[StageWords],
        log: RunLog | None = None,
        nodes: Callable[[], Mapping[str, int]] = dict,
        metrics: MetricsExporter | None = None,
    ) -> Iterator[None]:
        """Show a run while the context lasts, and write its log and its metrics.

        Args:
            state: gives ``{titles, planned_titles, hopeless, ended, failed, planned, analysed, done,
                assembling}``; called from the thread.
            coordinator: gives the coordinator's snapshot.
            stages: the engine's stages in order, with their wording.
            log: the run's log, written every `progress_text.PERIOD` seconds and at the end.
            nodes: gives how many nodes of each form there are, for the log.
            metrics: set as often.
        """
        run = _Run(state, coordinator, stages, log, nodes, metrics)
        outcome = "interrupted"
        with self._lock:
            self._run = run
        try:
            yield
            outcome = "ended"
        finally:
            with self._lock:
                self._run = None
            self.phase("finishing")
            self._record(run, outcome)
            if self.problem:
                self.say(f"the run's log and metrics are not complete: {self.problem}")

    def say(self, text: str) -> None:
        """Write a line that stays, above the bar."""
        LOGGER.info("%s", text)
        if self._bar is not None:
            self._bar.say(text)
        elif self._stream is not None:
            tell(text, self._stream)

    # --- the thread -----------------------------------------------------------------------------------------
    def _watch(self) -> None:
        due: dict[str, float] = {}
        watched: _Run | None = None
        while not self._stop.wait(min([TERMINAL_PERIOD, LOG_PERIOD, PERIOD])):
            now = time.monotonic()
            with self._lock:
                run = self._run
                if run is not watched:
                    # The log is there at once, so that `retalk status` finds it; a line waits until there is
                    # something to show.
                    watched, due = run, {"record": 0.0, "line": now + LOG_PERIOD}
            if self._bar is not None:
                self._bar.draw(*self._moment(run))
            elif run is None:
                self._say_phase(now)
            if run is not None and now >= due["line"]:
                due["line"] = now + LOG_PERIOD
                self._line(run)
            if run is not None and now >= due["record"]:
                due["record"] = now + PERIOD
                with self._lock:
                    if self._run is run:
                        self._record(run)

    def _say_phase(self, now: float) -> None:
        with self._lock:
            if self._phase_said or now - self._phase_since < PHASE_PATIENCE:
                return
            self._phase_said = True
        if self._stream is not None:
            tell(self._phase, self._stream)

    def _moment(self, run: _Run | None) -> tuple[Shown, float]:
        """Return the text to show now, with the seconds that it has lasted."""
        elapsed = time.monotonic() - self._began
        if run is not None and (found := self._look(run)) is not None:
            return found[0], elapsed
        return Shown([], [self._phase or "starting"], None, []), elapsed

    def _look(self, run: _Run) -> tuple[Shown, float] | None:
        try:
            state, coordinator = run.meter.read(run.state()), run.coordinator()
        except Exception as problem:  # the coordinator is being restarted
            self.problem = f"{type(problem).__name__}: {str(problem).partition(chr(10))[0]}"
            return None
        return describe(state, coordinator, run.stages), state["elapsed"]

    def _line(self, run: _Run) -> None:
        if (found := self._look(run)) is not None:
            text = found[0].line(found[1])
            LOGGER.info("%s", text)
            if self._bar is None and self._stream is not None:
                tell(text, self._stream)

    def _record(self, run: _Run, outcome: str = "running") -> None:
        """Write the log and set the metrics."""
        if run.log is None and run.metrics is None:
            return
        try:
            state, coordinator = run.meter.read(run.state()), run.coordinator()
            stages = by_stage(coordinator)
            if run.log is not None:
                run.log.write(state, {**coordinator, "stages": stages}, run.nodes(), outcome)
            if run.metrics is not None:
                run.metrics.update(state, *self._measured(run, stages))
        except Exception as problem:  # a store that does not answer, a coordinator that is being restarted: the next time will do
            self.problem = f"{type(problem).__name__}: {str(problem).partition(chr(10))[0]}"
        else:
            self.problem = ""

    @staticmethod
    def _measured(
        run: _Run, stages: dict[str, dict[str, Any]]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
        """Every stage with its pool, and how busy each was since the last time."""
        now = time.monotonic()
        then, before = run.counted
        run.counted = now, stages
        placed = run.log.placed if run.log is not None else {}
        full, busy = {}, {}
        for name in ("plan", *(stage.name for stage in run.stages)):
            pool, _, _, most = placed.get(name, ("", 0.0, 0.0, 1))
            full[name] = {
                "rows": 0,
                "frames": 0,
                "seconds": 0.0,
                "errors": 0,
                "running": 0,
                **stages.get(name, {}),
                "pool": pool,
            }
            worked = full[name]["seconds"] - before.get(name, {}).get("seconds", 0.0)
            busy[name] = max(0.0, worked / max(1e-3, now - then) / max(1, most))
        return full, busy


def _own(stream: TextIO | None) -> TextIO | None:
    """A stream with a descriptor of its own: what others redirect (Ray's output goes into a file) does not
    silence it.
    """
    try:
        return (
            None
            if stream is None
            else os.fdopen(os.dup(stream.fileno()), "w", encoding="utf-8", errors="replace")
        )
    except (OSError, AttributeError):  # no real file
        return stream


class _Bar:
    """Two lines at the bottom of a terminal: a bar with counts, and the work in progress. Other output
    stays above them.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._file = _own(stream) or stream
        self._stream = stream
        self._console = Console(
            file=self._file, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._spinner = Spinner("dots")
        self._furthest = 0.0
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=stream is sys.stderr,
            redirect_stdout=sys.stdout.isatty(),
        )

    def start(self) -> None:
        self._live.start()
        self.draw(Shown([], ["starting"], None, []), 0.0)

    def stop(self) -> None:
        self._live.stop()
        if self._file is not self._stream:
            self._file.close()

    def say(self, text: str) -> None:
        self._console.print(fitted(text, self._stream), soft_wrap=True)

    def draw(self, shown: Shown, elapsed: float) -> None:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        columns = self._console.width
        # Titles that are planned later add work: the bar waits for it and does not go back.
        self._furthest = max(self._furthest, shown.fraction or 0.0)
        bar = ProgressBar(
            total=1.0, completed=self._furthest, pulse=shown.fraction is None and not self._furthest
        )
        counts, width = " · ".join([*shown.counts, duration(elapsed)]), max(10, min(30, columns // 5))
        line = Table.grid(padding=(0, 1))
        line.add_column(width=1)
        if width + len(counts) + 4 <= columns:
            line.add_column(width=width)
            line.add_column(no_wrap=True)
            line.add_row(self._spinner, bar, Text(counts))
        else:  # what is counted matters more than the bar
            line.add_column()
            line.add_row(self._spinner, Text(counts))
        doing = Padding(Text(" · ".join(shown.doing), style="cyan"), (0, 0, 0, 2))
        warnings = [Padding(Text(text, style="yellow"), (0, 0, 0, 2)) for text in shown.warnings]
        self._live.update(Group(line, doing, *warnings), refresh=True)
