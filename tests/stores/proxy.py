"""An HTTP proxy in front of a store's server that answers some requests itself: with a 503, an expired token, a
broken connection.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

#: Headers that hold between two neighbours only.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Answer(NamedTuple):
    """An answer in place of the server's; status 0 breaks the connection."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Request(NamedTuple):
    """A request as a rule sees it.

    Attributes:
        head: the first bytes of its body.
        size: bytes of its body.
    """

    method: str
    path: str
    headers: dict[str, str]
    head: bytes
    size: int


#: What to answer to a request; None: what the server answers.
Rule = Callable[[Request], "Answer | None"]


class Proxy:
    """A proxy on a port of its own.

    Attributes:
        url: its address.
        rule: decides on every request; None lets all pass.
        after: what the client is answered, once, to a request that the server has carried out.
        seen: requests so far.
        refused: statuses of the answers that the rule gave, counted.
    """

    def __init__(self, target: str) -> None:
        split = urlsplit(target)
        self.target = (str(split.hostname), int(split.port or 80))
        self.rule: Rule | None = None
        self.after: Answer | None = None
        self.seen: list[Request] = []
        self.refused: Counter[int] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def _pass(self) -> None:
                try:
                    proxy._pass(self)
                except ConnectionError:
                    self.close_connection = True  # the client has gone

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _pass  # noqa: N815

            def handle_expect_100(self) -> bool:
                more = super().handle_expect_100()
                self.wfile.flush()
                return more

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.daemon = True
        self.thread.start()

    def _pass(self, handler: BaseHTTPRequestHandler) -> None:
        body = _body(handler)
        request = Request(handler.command, handler.path, dict(handler.headers.items()), body[:500], len(body))
        self.seen.append(request)
        answer = self.rule(request) if self.rule else None
        if answer is None:
            try:
                answer = self._ask(handler, body)
            except OSError:
                answer = Answer(0)
            if self.after is not None:
                answer, self.after = self.after, None
        else:
            self.refused[answer.status] += 1
        if answer.status == 0:
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in HOP:
                handler.send_header(name, value)
        length = [value for name, value in answer.headers if name.lower() == "content-length"]
        size = length[0] if handler.command == "HEAD" and length else str(len(answer.body))
        if answer.status not in (204, 304):
            handler.send_header("Content-Length", size)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer.body)

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(*self.target, timeout=60)
        headers = {
            name: value for name, value in handler.headers.items() if name.lower() not in HOP | {"expect"}
        }
        try:
            connection.request(
                handler.command, handler.path, body, headers | {"Content-Length": str(len(body))}
            )
            answer = connection.getresponse()
            content = answer.read()
            # A server names itself in places where a client goes on (an upload's address).
            location = tuple(
                (name, value.replace(f"{self.target[0]}:{self.target[1]}", self.url.removeprefix("http://")))
                for name, value in answer.getheaders()
            )
            return Answer(answer.status, content, location)
        finally:
            connection.close()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)
