"""Actors that put finished dubs together."""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Iterator
from typing import Any

from pipelines.execution.assembly import DubJob
from pipelines.execution.ray_session import detach_input
from pipelines.state.run_directory import Record

#: Dubs that an assembler is sent at once, at most, and their frames.
MAX_ASSEMBLED, FRAMES_ASSEMBLED = 16, 2000


class Assembler:
    """Assembles dubs in a process of its own, one after the other; a task per dub would start a process per
    dub.
    """

    def __init__(self) -> None:
        detach_input()

    def run(self, jobs: list[DubJob], keep_segments: bool) -> list[Record]:
        from pipelines.execution.assembly import assemble_dub

        return [assemble_dub(job, keep_segments) for job in jobs]


class AssemblerPool:
    """A few `Assembler` actors, started as they are needed, and the dubs that wait for them: short ones are
    sent several at a time.

    `run` is called from as many threads as there may be actors: `wanted` times when something was put.
    """

    def __init__(self, num_cpus: float, at_once: int, keep_segments: bool) -> None:
        self._num_cpus, self._at_once, self._keep_segments = num_cpus, at_once, keep_segments
        self._waiting: collections.deque[DubJob] = collections.deque()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._all: list[Any] = []
        self._lock = threading.Lock()

    def put(self, job: DubJob) -> None:
        """Queue a complete dub."""
        self._waiting.append(job)

    def wanted(self) -> int:
        """Return the number of calls of `run` that the waiting dubs justify."""
        return min(len(self._waiting), self._at_once)

    def run(self) -> Iterator[tuple[DubJob, Record | Exception]]:
        """Assemble dubs until none waits, a few at a time, in an idle actor; yield each with its record, or with
        the error after its actor died three times.
        """
        while jobs := self._taken():
            actor = self._actor()
            try:
                yield from self._assembled(actor, jobs)
            finally:
                self._idle.put(actor)

    def _actor(self) -> Any:
        """An idle actor, or a new one."""
        import ray

        try:
            return self._idle.get_nowait()
        except queue.Empty:
            options = {"num_cpus": self._num_cpus, "max_restarts": -1, "max_task_retries": 2}
            actor = ray.remote(Assembler).options(**options).remote()
            self._all.append(actor)
            return actor

    def _assembled(self, actor: Any, jobs: list[DubJob]) -> Iterator[tuple[DubJob, Record | Exception]]:
        import ray

        try:
            yield from zip(jobs, ray.get(actor.run.remote(jobs, self._keep_segments)), strict=True)
        except ray.exceptions.RayError as problem:
            if len(jobs) == 1:
                yield jobs[0], problem
                return
            for job in jobs:  # one of them killed the actor
                yield from self._assembled(actor, [job])

    def _taken(self) -> list[DubJob]:
        jobs: list[DubJob] = []
        frames = 0
        with self._lock:
            share = min(MAX_ASSEMBLED, -(-len(self._waiting) // self._at_once))
            while len(jobs) < share and (not jobs or frames + self._waiting[0].frames <= FRAMES_ASSEMBLED):
                jobs.append(self._waiting.popleft())
                frames += jobs[-1].frames
        return jobs

    def stop(self) -> None:
        """End the actors."""
        import ray

        for actor in self._all:
            ray.kill(actor)
