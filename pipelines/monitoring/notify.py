"""`--notify URL`: a JSON summary is posted when a run ends. Best effort: it never fails a run, nor holds it
up for long.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pipelines.errors import UsageError
from retalk_models.retrying import RETRYABLE_STATUS, retry

#: Seconds that an attempt may take, seconds before each further one, and seconds for all of it.
TIMEOUT, WAITS, LIMIT = 6.0, (0.5, 2.0, 5.0), 28.0


def check_url(url: str | None) -> None:
    """Refuse what cannot be posted to.

    Raises:
        UsageError: it is no http(s) URL with a host.
    """
    if url is None:
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise UsageError(f"--notify {shown(url)}: must be an http:// or https:// URL")


def shown(url: str) -> str:
    """A URL as messages name it: scheme, host and port. Paths of webhooks are secrets as well as their
    queries.
    """
    try:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{place}/***" if parts.scheme and parts.hostname else "URL"
    except ValueError:
        return "URL"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A summary goes where it was told to go, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, summary: Mapping[str, Any]) -> str:
    """Post a JSON object; repeats after failures that may pass.

    Returns:
        "" if it was delivered, otherwise why not, without the URL's secrets.
    """
    said = [f"no answer within {LIMIT:g} s"]
    # In a thread: a server that sends a byte now and then would hold an ordinary timeout off for ever.
    worker = threading.Thread(
        target=_deliver, args=(url, json.dumps(summary).encode(), said), daemon=True, name="notify"
    )
    worker.start()
    worker.join(LIMIT)
    return said[-1]


def _with_header(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its user and password, which urllib does not understand, and the headers that carry them."""
    headers = {"Content-Type": "application/json", "User-Agent": "retalk"}
    parts = urlsplit(url)
    if parts.username is None:
        return url, headers
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), headers


def _deliver(url: str, body: bytes, said: list[str]) -> None:
    opener = urllib.request.build_opener(_NoRedirect)
    url, headers = _with_header(url)

    def deliver() -> None:
        request = urllib.request.Request(url, body, headers, method="POST")
        with opener.open(request, timeout=TIMEOUT):
            said.append("")

    def failed(problem: Exception, tries: int) -> None:
        if isinstance(problem, urllib.error.HTTPError):
            moved = problem.code // 100 == 3
            hint = ", and redirections are not followed: give the new address" if moved else ""
            said.append(f"it answered {problem.code} {problem.reason}{hint}")
            lasting = problem.code not in RETRYABLE_STATUS
        else:  # no connection, timeouts, what is no HTTP, URLs that urllib refuses
            reason = getattr(problem, "reason", problem)
            said.append(
                f"it cannot be reached ({type(problem).__name__ if isinstance(reason, Exception) and not str(reason) else reason})"
            )
            lasting = False
        if lasting or tries > len(WAITS):
            raise problem
        time.sleep(WAITS[tries - 1])

    with contextlib.suppress(Exception):  # what it was has been said
        retry(deliver, failed)
