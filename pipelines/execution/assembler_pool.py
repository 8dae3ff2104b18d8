"""Actors that put finished dubs together, or do other work a dub or clip at a time."""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from operators.media.reading import reads_told_to
from pipelines.execution.ray_session import detach_input
from pipelines.state.run_directory import Record

#: Dubs that an assembler is sent at once, at most, and their frames.
MAX_ASSEMBLED, FRAMES_ASSEMBLED = 16, 2000
#: Rounds of all assemblers that may wait before `AssemblerPool.wait_for_room` waits.
ROUNDS = 2
#: Seconds without a finished dub after which `AssemblerPool.wait_for_room` waits no longer.
STALLED = 30.0


class Sized(Protocol):
    """Something to work on whose cost grows with its frames."""

    @property
    def frames(self) -> int: ...


Item = TypeVar("Item", bound=Sized)


class Assembler:
    """Works on items in a process of its own, one after the other; a task per item would start a process per
    item.
    """

    def __init__(self) -> None:
        detach_input()

    def run(self, work: Callable[[Any, Any], Record], items: list[Any], spec: Any) -> list[Record]:
        return [work(item, spec) for item in items]

    def run_told(self, work: Callable[[Any, Any], Record], item: Any, spec: Any, noted: Any) -> Record:
        """Work on one item, and tell an actor (`Noted`) of each media file before it is read."""
        import ray

        with reads_told_to(lambda url: ray.get(noted.set.remote(url))):
            return work(item, spec)


class Noted:
    """Remembers the media file that another process is reading."""

    def __init__(self) -> None:
        self._url = ""

    def set(self, url: str) -> None:
        self._url = url

    def get(self) -> str:
        return self._url


class DeadlyFileError(Exception):
    """An item killed its worker again and again, while a file was being read."""


class AssemblerPool(Generic[Item]):
    """A few `Assembler` actors, started as they are needed, and the dubs that wait for them: short ones are
    sent several at a time.

    `run` is called from as many threads as there may be actors: `wanted` times when something was put.

    Args:
        num_cpus: that an actor books.
        at_once: actors at most.
        spec: the second argument of the work.
        work: makes an item's record, such as `pipelines.execution.assembly.assemble_dub`; a function of a module.
    """

    def __init__(self, num_cpus: float, at_once: int, spec: Any, work: Callable[[Item, Any], Record]) -> None:
        self._num_cpus, self._at_once, self._spec, self._work = num_cpus, at_once, spec, work
        self._waiting: collections.deque[Item] = collections.deque()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._all: list[Any] = []
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        #: Something was finished since the last time that nothing was for `STALLED` seconds.
        self._moving = False

    def put(self, dub: Item) -> None:
        """Queue a complete dub."""
        self._waiting.append(dub)

    def wanted(self) -> int:
        """Return the number of calls of `run` that the waiting dubs justify."""
        return min(len(self._waiting), self._at_once)

    def wait_for_room(self, stalled: float = STALLED) -> None:
        """Wait while more dubs wait than the assemblers take in `ROUNDS` rounds: whoever puts dubs in calls it, so
        that those in memory do not grow with the run where assembling is slower than what comes before it.

        It waits only while assemblers get on: where they wait for CPUs that the caller's other work holds, it returns.

        Args:
            stalled: seconds without a finished dub after which it returns.
        """
        with self._room:
            while self._moving and len(self._waiting) > ROUNDS * MAX_ASSEMBLED * self._at_once:
                self._moving = self._room.wait(stalled)

    def run(self) -> Iterator[tuple[Item, Record | Exception]]:
        """Assemble dubs until none waits, a few at a time, in an idle actor; yield each with its record, or with
        the error after its actor died three times.
        """
        while dubs := self._taken():
            actor = self._actor()
            try:
                yield from self._assembled(actor, dubs)
            finally:
                self._idle.put(actor)
                with self._room:
                    self._moving = True
                    self._room.notify_all()

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

    def _assembled(self, actor: Any, dubs: list[Item]) -> Iterator[tuple[Item, Record | Exception]]:
        import ray

        try:
            yield from zip(dubs, ray.get(actor.run.remote(self._work, dubs, self._spec)), strict=True)
        except ray.exceptions.RayError as problem:
            if len(dubs) == 1:
                yield dubs[0], self._once_more(actor, dubs[0], problem)
                return
            for dub in dubs:  # one of them killed the actor
                yield from self._assembled(actor, [dub])

    def _once_more(self, actor: Any, dub: Item, problem: Exception) -> Record | Exception:
        """Work on what has killed its actor once more, to know which file was being read."""
        import ray

        if not isinstance(problem, ray.exceptions.ActorDiedError | ray.exceptions.ActorUnavailableError):
            return problem
        noted: Any = ray.remote(Noted).options(num_cpus=0).remote()
        try:
            told = actor.run_told.options(max_task_retries=0)
            record: Record = ray.get(told.remote(self._work, dub, self._spec, noted))
            return record
        except ray.exceptions.RayError as again:
            url = ray.get(noted.get.remote())
            text = (
                f"reading {url} killed its worker again and again: is the file damaged? See Ray's worker logs"
            )
            return DeadlyFileError(text) if url else again
        finally:
            ray.kill(noted)

    def _taken(self) -> list[Item]:
        dubs: list[Item] = []
        frames = 0
        with self._lock:
            share = min(MAX_ASSEMBLED, -(-len(self._waiting) // self._at_once))
            while len(dubs) < share and (not dubs or frames + self._waiting[0].frames <= FRAMES_ASSEMBLED):
                dubs.append(self._waiting.popleft())
                frames += dubs[-1].frames
        return dubs

    def stop(self) -> None:
        """End the actors."""
        import ray

        for actor in self._all:
            ray.kill(actor)
