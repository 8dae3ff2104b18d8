"""Progress of the transfers of model files: bars on a terminal, lines in a log."""

from __future__ import annotations

import threading
from typing import Any, TextIO

from pipelines.monitoring.terminal import shows_bar
from retalk_models.registry.catalog import show_size
from retalk_models.registry.download import DownloadProgress

LINE_STEP = 10
UNKNOWN_TOTAL_STEP = 100_000_000


class BarProgress(DownloadProgress):
    """One bar a transfer, for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        self.lock = threading.Lock()
        self.tasks: dict[str, Any] = {}
        self.console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False)
        share = TextColumn("{task.percentage:>3.0f} %")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            share,
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Bars(*columns, console=self.console, transient=True, redirect_stdout=False)

    def start(self, file: str, total: int | None, done: int, source: str) -> None:
        with self.lock:
            if not self.tasks:
                self.bars.start()
            if file not in self.tasks:
                self.tasks[file] = self.bars.add_task(file)
            self.bars.reset(self.tasks[file], total=total, completed=done)

    def at(self, file: str, done: int) -> None:
        with self.lock:
            self.bars.update(self.tasks[file], completed=done)

    def finish(self, file: str) -> None:
        with self.lock:
            task = self.tasks.pop(file, None)
            if task is not None:
                self.bars.refresh()
                self.bars.remove_task(task)
            if not self.tasks:
                self.bars.stop()

    def say(self, text: str) -> None:
        with self.lock:
            self.console.print(text, soft_wrap=True)


class LineProgress(DownloadProgress):
    """A line at the start of each transfer and each tenth of it, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.lock = stream, threading.Lock()
        self.state: dict[str, tuple[int | None, int]] = {}

    def _step(self, total: int | None, done: int) -> int:
        return done * 100 // (LINE_STEP * total) if total else done // UNKNOWN_TOTAL_STEP

    def start(self, file: str, total: int | None, done: int, source: str) -> None:
        with self.lock:
            self.state[file] = (total, self._step(total, done))
            after = f", resuming after {show_size(done)}" if done else ""
            print(f"{file}: {show_size(total)} from {source}{after}", file=self.stream, flush=True)

    def at(self, file: str, done: int) -> None:
        with self.lock:
            total, step = self.state[file]
            if self._step(total, done) > step:
                self.state[file] = (total, self._step(total, done))
                share = f" of {show_size(total)} ({done * 100 // total} %)" if total else ""
                print(f"{file}: {show_size(done)}{share}", file=self.stream, flush=True)

    def say(self, text: str) -> None:
        with self.lock:
            print(text, file=self.stream, flush=True)


class QuietProgress(DownloadProgress):
    """Messages that a person should read, without the progress of transfers."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def make_progress(stream: TextIO, quiet: bool = False) -> DownloadProgress:
    """Bars on a terminal, plain lines elsewhere; with `quiet` only what a person should read."""
    if quiet:
        return QuietProgress(stream)
    return BarProgress(stream) if shows_bar(stream) else LineProgress(stream)
