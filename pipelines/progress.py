"""Progress: one bar with frames, speed and remaining time on a terminal; a plain line now and then in logs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

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


class Progress:
    """Shows a run while it lasts. Context manager; looks at the run from a thread of its own.

    Args:
        state: gives ``{titles, planned_titles, ended, failed, planned, done}``; called from the thread.
        board: gives the board's snapshot.
        stages: the engine's stages in order.
        stream: where to write; None: nothing is shown.
    """

    def __init__(
        self,
        state: Callable[[], dict[str, Any]],
        board: Callable[[], dict[str, Any]],
        stages: list[str],
        stream: TextIO | None = sys.stderr,
    ) -> None:
        self._state, self._board, self._stages, self._stream = state, board, ["plan", *stages], stream
        self._terminal = stream is not None and stream.isatty()
        self._stop = threading.Event()
        self._meter = Meter()
        self._bar: Any = None
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        if self._terminal:
            self._bar = tqdm(
                total=0, unit="frame", file=self._stream, dynamic_ncols=True, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {postfix}"
            )
        if self._stream is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._stream is not None:
            self._thread.join()
        if self._bar is not None:
            self._bar.close()

    def _watch(self) -> None:
        while not self._stop.wait(TERMINAL_PERIOD if self._terminal else LOG_PERIOD):
            self._show()

    def _show(self) -> None:
        state = self._meter.read(self._state())
        stages = self._board()["stages"]
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
