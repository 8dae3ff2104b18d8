"""A real HTTP server on 127.0.0.1 that serves bytes with ranges, and fails in the ways real servers fail,
when told to.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from retalk_models.registry.catalog import Catalog, ModelFile, Part


class Shelf:
    """Files of the server, its misbehaviour, and the requests that it has answered.

    Attributes:
        files: bytes by path ("/LNet.pth").
        ranges: whether Range is obeyed.
        tags: whether ETag is sent.
        cuts: for each next answer with a body: close the connection after so many bytes of it.
        statuses: for each next request: answer with this status instead.
        retry_after: sent with such a status.
        redirects: status 302 to this path, by path.
        claimed: Content-Length to claim by path, in place of the true one.
        pause: seconds to wait after each 64 KiB.
        requests: (path, Range header or "") of each request.
        sent: bytes of bodies that were sent or are being sent.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.ranges, self.tags = files, True, True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.retry_after: str | None = None
        self.claimed: dict[str, int] = {}
        self.redirects: dict[str, str] = {}
        self.content_type = "application/octet-stream"
        self.pause = 0.0
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        self.lock = threading.Lock()
        self.url = ""


def _handler(shelf: Shelf) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            with shelf.lock:
                shelf.requests.append((self.path, asked))
                status = shelf.statuses.pop(0) if shelf.statuses else 0
                data = shelf.files.get(self.path)
            if self.path in shelf.redirects:
                self.send_response(302)
                self.send_header("Location", shelf.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if status or data is None:
                self.send_response(status or 404)
                if status and shelf.retry_after is not None:
                    self.send_header("Retry-After", shelf.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(data, asked)

        def _send(self, data: bytes, asked: str) -> None:
            tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            if span and shelf.ranges and self.headers.get("If-Range", tag) == tag:
                start, stop = int(span[1]), min(int(span[2]) + 1 if span[2] else len(data), len(data))
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            else:
                start, stop = 0, len(data)
                self.send_response(200)
            if shelf.tags:
                self.send_header("ETag", tag)
            self.send_header("Content-Type", shelf.content_type)
            self.send_header("Content-Length", str(shelf.claimed.get(self.path, stop - start)))
            self.end_headers()
            with shelf.lock:
                body = data[start:stop][: shelf.cuts.pop(0) if shelf.cuts else None]
            for offset in range(0, len(body), 1 << 16):
                chunk = body[offset : offset + (1 << 16)]
                with shelf.lock:
                    shelf.sent += len(chunk)  # before the client can have it: a test reads it then
                try:
                    self.wfile.write(chunk)
                except (BrokenPipeError, ConnectionResetError):
                    with shelf.lock:
                        shelf.sent -= len(chunk)
                    break
                time.sleep(shelf.pause)
            self.close_connection = True

    return Handler


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Shelf]:
    """Serve files while the block runs; ``Shelf.url`` is the address of the root, without a trailing slash."""
    shelf = Shelf(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(shelf))
    server.daemon_threads = True
    shelf.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    proxies = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"  # this machine's own proxy settings must not take part
    try:
        yield shelf
    finally:
        os.environ["no_proxy"] = proxies or ""
        server.shutdown()
        server.server_close()
        thread.join()


def model_file(file: str, url: str = "", data: bytes | None = None, **fields: Any) -> ModelFile:
    """A catalogue entry whose digest and size are those of ``data``, or unknown."""
    known = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} if data is not None else {}
    base = {
        "urls": (url,) if url else (),
        "licence": "Apache-2.0",
        "commercial": "yes",
        "groups": ("retalk",),
        "used_by": f"stage of {file}",
    }
    return ModelFile(**{"file": file, **base, **known, **fields})


def catalog_of(*entries: ModelFile, **networks: tuple[Part, ...]) -> Catalog:
    """A catalogue of these entries."""
    return Catalog({entry.file: entry for entry in entries}, networks)
