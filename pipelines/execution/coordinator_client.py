"""The coordinator as an actor on Ray, and its client in the workers."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.execution.ray_session import RayLostError, ray_lost
from pipelines.state.coordinator import Coordinator, WorkKey

NAMESPACE = "retalk"


#: Seconds that the coordinator has to answer the progress display.
COORDINATOR_TIMEOUT = 10.0


#: Seconds that a worker's notes to the coordinator may wait.
NOTES_PERIOD = 1.0


class CoordinatorClient:
    """The coordinator in its actor, as workers see it.

    Notes that need no answer are gathered and sent with the next `begin`, at the end of a batch, or after a
    second.
    """

    def __init__(self, name: str) -> None:
        import ray

        self._ray: Any = ray
        self._coordinator: Any = ray.get_actor(name, namespace=NAMESPACE)
        self._notes: list[tuple[str, tuple[Any, ...]]] = []
        self._sent = time.monotonic()
        self._lock = threading.Lock()  # rows may be worked on in threads

    def begin(self, key: WorkKey) -> int:
        attempts: int = self._ray.get(self._coordinator.after.remote(self._taken(), "begin", key))
        return attempts

    def end(self, key: WorkKey) -> None:
        self._note("end", key)

    def reading(self, key: WorkKey, url: str) -> None:
        """Tell it at once: the process may die before the next note would be sent."""
        self._ray.get(self._coordinator.reading.remote(key, url))

    def last_read(self, key: WorkKey) -> str:
        return str(self._ray.get(self._coordinator.last_read.remote(key)))

    def stage_begun(self, stage: str) -> None:
        self._note("stage_begun", stage)

    def stage_at(self, stage: str, frames: float) -> None:
        self._note("stage_at", stage, frames)

    def stage_done(self, stage: str, frames: int, seconds: float, error: bool) -> None:
        self._note("stage_done", stage, frames, seconds, error)

    def decide(self, title: str, decision: str) -> None:
        self._ray.get(self._coordinator.decide.remote(title, decision))

    def begin_plan(self, title: str) -> tuple[int, str | None]:
        found: tuple[int, str | None] = self._ray.get(
            self._coordinator.after.remote(self._taken(), "begin_plan", title)
        )
        return found

    @contextmanager
    def coming_up(self, group: str) -> Iterator[None]:
        """Report to the coordinator that this actor is starting, and then that it is up. Its imports and its
        set-up belong inside.
        """
        worker = self._ray.get_runtime_context().get_actor_id() or uuid.uuid4().hex
        told = (worker, group, socket.gethostname(), os.getpid())
        self._coordinator.starting.remote(*told, "importing")
        yield
        self._coordinator.up.remote(worker)

    def claim(self, size: int) -> bool:
        return bool(self._ray.get(self._coordinator.claim.remote(size)))

    def flush(self) -> None:
        """Send the gathered notes."""
        if self._notes:
            self._coordinator.note.remote(self._taken())

    def _note(self, method: str, *arguments: Any) -> None:
        with self._lock:
            self._notes.append((method, arguments))
        if time.monotonic() - self._sent > NOTES_PERIOD:
            self.flush()

    def _taken(self) -> list[tuple[str, tuple[Any, ...]]]:
        with self._lock:
            notes, self._notes, self._sent = self._notes, [], time.monotonic()
        return notes


def start_coordinator(room: float = math.inf, folder: str = "") -> tuple[str, Any]:
    """Start the run's coordinator; it lives as long as the returned handle. Arguments as of `Coordinator`;
    the folder is on this machine.

    Returns:
        Its name for `CoordinatorClient`, and the actor's handle.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"coordinator-{uuid.uuid4().hex[:12]}"
    # No CPU: it must never wait behind the pools. On the driver's node: its state lives as long as the run.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    actor = ray.remote(Coordinator).options(name=name, namespace=NAMESPACE, **options).remote(room, folder)
    return name, actor


def snapshot_of(coordinator: Any) -> dict[str, Any]:
    """Return the coordinator's snapshot, from its actor, within the time that the progress display may stand
    still.

    Raises:
        RayLostError: Ray has ended.
        ray.exceptions.GetTimeoutError: the coordinator has not answered.
    """
    import ray

    if ray_lost():
        raise RayLostError("Ray has ended")
    found: dict[str, Any] = ray.get(coordinator.snapshot.remote(), timeout=COORDINATOR_TIMEOUT)
    return found
