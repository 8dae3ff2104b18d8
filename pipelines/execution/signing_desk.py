"""Signatures for assemblers on Ray: the private key stays in the driver's process, which answers what they ask.

An assembler sends what is to be signed, a few kilobytes that stand in the file afterwards, to an actor; a thread of the driver takes it
from there and puts the signature back. The key is in no argument of a task, in no object and on no other node.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipelines.execution.coordinator_client import NAMESPACE
from pipelines.execution.ray_session import ray_lost
from pipelines.provenance.credentials import Sign, Signing
from pipelines.provenance.findings import printable

#: Seconds that an assembler waits for a signature.
SIGNATURE_TIMEOUT = 600.0
#: Seconds that the end of a run waits for the desk, and for the thread that serves it.
CLOSE_TIMEOUT = 20.0


class DeskError(RuntimeError):
    """The driver could not sign; the message says why."""


class Desk:
    """Requests and their answers: the actor's class."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[tuple[bytes, str]]] = {}

    async def sign(self, data: bytes) -> tuple[bytes, str]:
        """Queue a request, and wait for its answer: the signature, or "" and why there is none."""
        number, answer = uuid.uuid4().hex, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._requests.put((number, data))
            return await answer
        finally:
            self._answers.pop(number, None)

    async def request(self) -> tuple[str, bytes]:
        """Wait for a request: its number, and what is to be signed; no number: there are no more."""
        return await self._requests.get()

    async def close(self) -> None:
        """Tell whoever waits for requests that no more will come."""
        await self._requests.put(("", b""))

    async def answer(self, number: str, signature: bytes, problem: str) -> None:
        """Answer a request; one whose asker is gone is passed over."""
        waiting = self._answers.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result((signature, problem))


@dataclasses.dataclass(frozen=True)
class AskDesk:
    """The `sign` of an assembler: ask the desk.

    Attributes:
        name: of the actor.
    """

    name: str

    def __call__(self, data: bytes) -> bytes:
        import ray

        desk: Any = ray.get_actor(self.name, namespace=NAMESPACE)
        signature, problem = ray.get(desk.sign.remote(data), timeout=SIGNATURE_TIMEOUT)
        if problem:
            raise DeskError(problem)
        return bytes(signature)


@contextmanager
def signing_desk(signing: Signing | None) -> Iterator[Signing | None]:
    """Answer requests for signatures while the context lasts.

    Yields:
        The same signing without its key, for assemblers; None for None.
    """
    if signing is None:
        yield None
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"signing-{uuid.uuid4().hex[:12]}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    # No CPU: it must never wait behind the pools.
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    desk: Any = ray.remote(Desk).options(name=name, namespace=NAMESPACE, **options).remote()
    thread = threading.Thread(target=_serve, args=(desk, signing.sign), name="signing", daemon=True)
    thread.start()
    try:
        yield dataclasses.replace(signing, sign=AskDesk(name))
    finally:
        if not ray_lost():
            # The thread must not be inside Ray when Ray is shut down: that ends the process.
            with suppress(Exception):
                ray.get(desk.close.remote(), timeout=CLOSE_TIMEOUT)
                thread.join(CLOSE_TIMEOUT)
            ray.kill(desk)


def _serve(desk: Any, sign: Sign) -> None:
    """Sign what is asked for until the desk is gone."""
    import ray

    while True:
        try:
            number, data = ray.get(desk.request.remote())
            if not number:
                return
            try:
                signature, problem = sign(data), ""
            except Exception as error:
                signature, problem = b"", printable(error)
            ray.get(desk.answer.remote(number, signature, problem))
        except (Exception, SystemExit):  # the run has ended, or Ray has, which raises the latter
            return
