"""Signatures for assemblers on Ray: the private key stays in the driver's process, which answers what they ask.

An assembler on the driver's machine asks over a socket (`pipelines.execution.signing_socket`), at a tenth of the driver's CPU time. Others
send what is to be signed, a few kilobytes that stand in the file afterwards, to an actor; a thread of the driver takes it from there and
puts the signature back. The key is in no argument of a task, in no object and on no other node.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipelines.execution.coordinator_client import NAMESPACE
from pipelines.execution.ray_session import ray_lost
from pipelines.execution.signing_socket import (
    SIGNATURE_TIMEOUT,
    DeskError,
    ask_socket,
    signed,
    signing_socket,
)
from pipelines.provenance.credentials import Sign, Signing

#: Seconds that the end of a run waits for the desk, and for the thread that serves it.
CLOSE_TIMEOUT = 20.0


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

    async def exchange(self, answers: list[tuple[str, bytes, str]]) -> list[tuple[str, bytes]]:
        """Pass answers on, and wait for requests: all that are there, each with its number and what is to be signed.

        An answer whose asker is gone is passed over. A request without a number says that no more will come.
        """
        for number, signature, problem in answers:
            waiting = self._answers.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result((signature, problem))
        found = [await self._requests.get()]
        while not self._requests.empty():
            found.append(self._requests.get_nowait())
        return found

    async def close(self) -> None:
        """Tell whoever waits for requests that no more will come."""
        await self._requests.put(("", b""))


@dataclasses.dataclass(frozen=True)
class AskDesk:
    """The `sign` of an assembler: ask the driver.

    Attributes:
        name: of the actor; empty: there is none, for all assemblers are on the driver's machine.
        path: of the socket on the driver's machine; empty: there is none.
        node: of Ray, the driver's: others may see the path in a folder that all share, and nobody listens there.
    """

    name: str
    path: str = ""
    node: str = ""

    def __call__(self, data: bytes) -> bytes:
        if not self.name:
            return ask_socket(self.path, data)
        import ray

        if self.path and self.node == ray.get_runtime_context().get_node_id() and os.path.exists(self.path):
            return ask_socket(self.path, data)
        desk: Any = ray.get_actor(self.name, namespace=NAMESPACE)
        signature, problem = ray.get(desk.sign.remote(data), timeout=SIGNATURE_TIMEOUT)
        if problem:
            raise DeskError(problem)
        return bytes(signature)


@contextmanager
def signing_desk(signing: Signing | None, folder: Path, joined: bool) -> Iterator[Signing | None]:
    """Answer requests for signatures while the context lasts.

    Args:
        signing: with the key.
        folder: on this machine, of this user alone.
        joined: whether Ray may have nodes elsewhere.

    Yields:
        The same signing without its key, for assemblers; None for None.
    """
    if signing is None:
        yield None
        return
    with signing_socket(folder, signing.sign) as path:
        if path and not joined:
            yield dataclasses.replace(signing, sign=AskDesk("", path))
            return
        import ray

        node = ray.get_runtime_context().get_node_id()
        with _desk(signing.sign) as name:
            yield dataclasses.replace(signing, sign=AskDesk(name, path, node))


@contextmanager
def _desk(sign: Sign) -> Iterator[str]:
    """Serve an actor of the class `Desk` while the context lasts, and give its name."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"signing-{uuid.uuid4().hex[:12]}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    # No CPU: it must never wait behind the pools.
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    desk: Any = ray.remote(Desk).options(name=name, namespace=NAMESPACE, **options).remote()
    thread = threading.Thread(target=_serve, args=(desk, sign), name="signing", daemon=True)
    thread.start()
    try:
        yield name
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

    answers: list[tuple[str, bytes, str]] = []
    while True:
        try:
            requests = ray.get(desk.exchange.remote(answers))
        except (Exception, SystemExit):  # the run has ended, or Ray has, which raises the latter
            return
        if not all(number for number, _ in requests):
            return
        answers = [(number, *signed(sign, data)) for number, data in requests]
