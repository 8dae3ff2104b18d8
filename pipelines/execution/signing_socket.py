"""Signatures for processes on the driver's machine, over a Unix socket in a folder that only its user may enter."""

from __future__ import annotations

import functools
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection
from pathlib import Path

from pipelines.provenance.credentials import Sign
from pipelines.provenance.findings import printable

#: Seconds that an assembler waits for a signature.
SIGNATURE_TIMEOUT = 600.0
#: Bytes of a request, at most; what is signed of an output has some kilobytes.
MAX_BYTES = 1 << 20
#: First byte of an answer: a signature follows, or why there is none.
SIGNED, REFUSED = b"\0", b"\1"
#: One thread of a process asks at a time.
_ASKING = threading.Lock()


class DeskError(RuntimeError):
    """The driver could not sign; the message says why."""


def signed(sign: Sign, data: bytes) -> tuple[bytes, str]:
    """Return the signature and "", or no bytes and why there is none."""
    try:
        return sign(data), ""
    except Exception as problem:
        return b"", printable(problem)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    sign: Sign


class _Asker(socketserver.BaseRequestHandler):
    """Answers one process until it is gone, in a thread."""

    server: _Server

    def handle(self) -> None:
        with Connection(self.request.detach()) as asker:
            while True:
                try:
                    signature, problem = signed(self.server.sign, asker.recv_bytes(MAX_BYTES))
                    asker.send_bytes(REFUSED + problem.encode() if problem else SIGNED + signature)
                except (EOFError, OSError):
                    return


@contextmanager
def signing_socket(folder: Path, sign: Sign) -> Iterator[str]:
    """Sign what processes of this machine ask for while the context lasts.

    Args:
        folder: of this user alone.
        sign: returns the signature of some bytes.

    Yields:
        The socket's path for `ask_socket`; "" where there can be none.
    """
    path = str(folder / "signing")
    try:
        server = _Server(path, _Asker)
    except OSError:  # the path is longer than a socket's may be, or the file system has no sockets
        yield ""
        return
    server.sign = sign
    thread = threading.Thread(target=server.serve_forever, name="signing-socket", daemon=True)
    thread.start()
    try:
        yield path
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask_socket(path: str, data: bytes) -> bytes:
    """Return the signature of some bytes from the process that listens at a path.

    Raises:
        DeskError: it could not sign, or has ended.
    """
    with _ASKING:
        try:
            connection = _connected(path)
            connection.send_bytes(data)
            if not connection.poll(SIGNATURE_TIMEOUT):
                raise TimeoutError(f"no answer within {SIGNATURE_TIMEOUT:g} s")
            answer = connection.recv_bytes()
        except (EOFError, OSError) as problem:
            _connected.cache_clear()  # an answer that comes after all belongs to no later request
            why = str(problem) or "it has ended"
            raise DeskError(
                f"the driver, which has the key, cannot be asked for a signature: {why}"
            ) from problem
    if answer[:1] == REFUSED:
        raise DeskError(answer[1:].decode())
    return answer[1:]


@functools.lru_cache(maxsize=1)
def _connected(path: str) -> Connection:
    """The connection of this process, which outlasts a request."""
    return Client(path, "AF_UNIX")
