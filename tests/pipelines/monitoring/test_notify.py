"""`--notify`: summaries that arrive, that arrive late, and that never do."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipelines.errors import UsageError
from pipelines.monitoring import notify
from pipelines.monitoring.notify import check_url, post, shown


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers with the codes it is given, one after the other, then 200; keeps what it was sent."""

    codes: list[int]
    heard: list[tuple[str, dict[str, str], Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.path, dict(self.headers), json.loads(body)))
        code = self.codes.pop(0) if self.codes else 200
        self.send_response(code)
        if code in (301, 302, 307):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def hook(*codes: int) -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    heard: list[tuple[str, dict[str, str], Any]] = []
    handler = type("OneHook", (Hook,), {"codes": list(codes), "heard": heard})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook?token=abcd", heard
        server.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "WAITS", (0.0, 0.0, 0.0))


def test_a_summary_arrives() -> None:
    with hook() as (url, heard):
        assert post(url, {"outcome": "done", "failed": 0}) == ""
    ((path, headers, body),) = heard
    assert path == "/hook?token=abcd"
    assert headers["Content-Type"] == "application/json"
    assert body == {"outcome": "done", "failed": 0}


def test_a_server_that_fails_twice_is_asked_again() -> None:
    with hook(503, 500) as (url, heard):
        assert post(url, {}) == ""
    assert len(heard) == 3


@pytest.mark.parametrize(("code", "times"), [(404, 1), (401, 1), (302, 1), (503, 4), (429, 4)])
def test_what_will_not_pass_is_not_repeated(code: int, times: int) -> None:
    with hook(*[code] * 10) as (url, heard):
        assert post(url, {}).startswith(f"it answered {code} ")
    assert len(heard) == times, "a redirection is not followed either"


def test_a_server_that_never_answers_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "LIMIT", 0.5)
    monkeypatch.setattr(notify, "TIMEOUT", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        said = post(f"http://127.0.0.1:{deaf.getsockname()[1]}/x?token=abcd", {})
    assert said == "no answer within 0.5 s"
    monkeypatch.setattr(notify, "LIMIT", 60.0)
    monkeypatch.setattr(notify, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert post(f"http://127.0.0.1:{deaf.getsockname()[1]}/x", {}) == "it cannot be reached (timed out)"


def test_a_port_where_nobody_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = post(f"http://127.0.0.1:{port}/x?token=abcd", {})
    assert said.startswith("it cannot be reached (")
    assert "abcd" not in said


def test_all_of_it_ends_within_half_a_minute() -> None:
    assert notify.LIMIT <= 30


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file:///etc/passwd", "host/x", "", "http://", "http://[bad/x"]
)
def test_only_http(url: str) -> None:
    with pytest.raises(UsageError, match="must be an http:// or https:// URL"):
        check_url(url)


def test_secrets_of_a_webhook_are_not_shown() -> None:
    assert shown("https://user:pass@hooks.example/services/T0/secret?sig=1") == "https://hooks.example/***"
    assert shown("http://me:secret@hooks.example:8443/x") == "http://hooks.example:8443/***"
    assert shown("nonsense") == "URL"
    with pytest.raises(UsageError) as problem:
        check_url("ftp://user:secret@host/path-secret")
    assert "secret" not in str(problem.value)


def test_a_user_and_password_go_into_the_header() -> None:
    with hook() as (url, heard):
        assert post(url.replace("127.0.0.1", "me:p%40ss@127.0.0.1"), {}) == ""
    assert heard[0][1]["Authorization"] == "Basic bWU6cEBzcw=="
