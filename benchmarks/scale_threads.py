"""CPU time of the driver's threads, Ray's own among them, and its memory, while a catalogue is dubbed."""

from __future__ import annotations

import collections
import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scale_memory import MIB, private_memory
from pipelines.execution.collector import Collector

#: Dubs between two lines of figures.
STEP = 10_000
#: Part of the catalogue that the threads' times are taken over: starting and ending are outside.
STEADY = (0.25, 0.9)
#: Milliseconds a dub below which a thread is not named.
SMALL = 0.005


@dataclass(frozen=True)
class Moment:
    """Figures of this process at one moment: dubs that have ended, seconds, CPU seconds, and those by thread (id and name)."""

    ended: int
    seconds: float
    cpu: float
    threads: dict[tuple[int, str], float] = field(default_factory=dict)


def thread_seconds() -> dict[tuple[int, str], float]:
    """CPU seconds of each thread of this process, by id and name; the numbers at the end of names are left out."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {}
    for folder in Path("/proc/self/task").iterdir():
        try:
            nanoseconds = int((folder / "schedstat").read_text().split()[0])
            name = named.get(int(folder.name)) or (folder / "comm").read_text().strip()
        except OSError:
            continue  # it has just ended
        found[int(folder.name), re.sub(r"[-_]?\d+\b", "", name)] = nanoseconds / 1e9
    return found


def spent(before: Moment, after: Moment) -> dict[str, float]:
    """CPU milliseconds a dub by name of thread, most first; ``ended`` is of threads that are gone."""
    dubs = max(1, after.ended - before.ended)
    found: collections.Counter[str] = collections.Counter()
    for thread, seconds in after.threads.items():
        found[thread[1]] += (seconds - before.threads.get(thread, 0.0)) / dubs * 1000
    found["ended"] = (after.cpu - before.cpu) / dubs * 1000 - sum(found.values())
    return dict(found.most_common())


class DriverThreads:
    """Context manager: counts the dubs that end; prints a line for every `STEP`, and remembers two moments.

    Args:
        count: dubs that there will be.
    """

    def __init__(self, count: int) -> None:
        self._marks = {max(1, int(count * part)) for part in STEADY}
        self._ended, self._lock = 0, threading.Lock()
        self.moments: list[Moment] = []

    def __enter__(self) -> DriverThreads:
        self._plain, self._last = Collector.ended, self._now()

        def ended(collector: Collector, record: Any) -> None:
            self._plain(collector, record)
            with self._lock:
                self._ended += 1
                if self._ended % STEP == 0:
                    self._line()
                if self._ended in self._marks:
                    self.moments.append(self._now(threads=True))

        Collector.ended = ended  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        Collector.ended = self._plain  # type: ignore[method-assign]

    def _now(self, threads: bool = False) -> Moment:
        times = thread_seconds() if threads else {}
        return Moment(self._ended, time.monotonic(), time.process_time(), times)

    def _line(self) -> None:
        now, last = self._now(), self._last
        dubs = now.ended - last.ended
        print(
            f"rows: the {now.ended:,}th: {(now.cpu - last.cpu) / dubs * 1000:.2f} ms each since the last line, "
            f"{dubs / (now.seconds - last.seconds):.1f} a second, {private_memory(os.getpid()) / MIB:.0f} MiB",
            flush=True,
        )
        self._last = now

    def words(self) -> str:
        """CPU milliseconds a dub between the two moments, in all and by thread."""
        before, after = self.moments
        names = ", ".join(f"{name} {ms:.3f}" for name, ms in spent(before, after).items() if ms > SMALL)
        whole = (after.cpu - before.cpu) / (after.ended - before.ended) * 1000
        return f"{whole:.2f} ms a segment from the {before.ended:,}th to the {after.ended:,}th: {names}"
