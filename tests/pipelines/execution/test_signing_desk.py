"""Signatures for assemblers: over a socket on the driver's machine, by way of an actor elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operators.storage.scratch import scratch_folder
from pipelines.execution.signing_desk import AskDesk, Desk
from pipelines.execution.signing_socket import MAX_BYTES, DeskError, ask_socket, signing_socket

ASK = """
import sys
from pipelines.execution.signing_socket import ask_socket
sys.stdout.buffer.write(ask_socket(sys.argv[1], b"from afar"))
"""


def digest(data: bytes) -> bytes:
    """Stands for a signature: depends on what is signed."""
    return hashlib.sha256(data).digest()


def test_other_processes_get_signatures_over_the_socket() -> None:
    with scratch_folder() as folder, signing_socket(folder, digest) as path:
        asked = [
            subprocess.Popen([sys.executable, "-c", ASK, path], stdout=subprocess.PIPE) for _ in range(2)
        ]
        assert [process.communicate()[0] for process in asked] == [digest(b"from afar")] * 2


def test_threads_that_ask_at_once_get_their_own_signatures() -> None:
    data = [bytes([number]) * number for number in range(64)]
    with scratch_folder() as folder, signing_socket(folder, digest) as path, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(AskDesk("", path), data))
    assert found == [digest(one) for one in data]


def test_what_cannot_be_signed_is_told_and_the_next_one_is_signed() -> None:
    def sign(data: bytes) -> bytes:
        if data == b"bad":
            raise ValueError("the token was taken out")
        return digest(data)

    with scratch_folder() as folder, signing_socket(folder, sign) as path:
        with pytest.raises(DeskError, match="the token was taken out"):
            ask_socket(path, b"bad")
        assert ask_socket(path, b"good") == digest(b"good")
        with pytest.raises(DeskError, match="cannot be asked for a signature"):
            ask_socket(path, bytes(MAX_BYTES + 1))  # the driver hangs up
        assert ask_socket(path, b"good") == digest(b"good")


def test_a_driver_that_is_gone_is_told() -> None:
    with scratch_folder() as folder:
        with signing_socket(folder, digest) as path:
            pass
        with pytest.raises(DeskError, match="cannot be asked for a signature"):
            AskDesk("", path)(b"late")


def test_no_socket_where_its_path_is_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with signing_socket(deep, digest) as path:
        assert path == ""


def test_the_desk_gives_all_requests_that_wait_at_once() -> None:
    async def exchange() -> None:
        desk = Desk()
        asked = [asyncio.ensure_future(desk.sign(bytes([number]))) for number in range(3)]
        await asyncio.sleep(0)
        requests = await desk.exchange([])
        assert [data for _, data in requests] == [b"\0", b"\1", b"\2"]
        answers = [(number, data * 2, "") for number, data in requests]
        answers.append(("of somebody who is gone", b"", ""))
        waits = asyncio.ensure_future(desk.exchange(answers))
        assert await asyncio.gather(*asked) == [(bytes([number] * 2), "") for number in range(3)]
        await desk.close()
        assert await waits == [("", b"")]

    asyncio.run(exchange())
