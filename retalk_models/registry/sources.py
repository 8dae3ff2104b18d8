"""Readers of addresses: HTTP(S) with ranges, every other address through fsspec, with one interface.

HTTP is implemented here and not through fsspec: fsspec's HTTP file system needs a package that a plain
installation does not have, and resuming needs the answer's status, validator and range.
"""

from __future__ import annotations

import dataclasses
import email.utils
import http.client
import io
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import IO, Any, cast

import fsspec

from retalk_models import __version__
from retalk_models.registry.errors import FetchError
from retalk_models.retrying import RETRYABLE_STATUS
from retalk_models.storage_rules import describe, judge

TIMEOUT_SECONDS = 30.0


@dataclasses.dataclass
class Opened:
    """A source opened for reading.

    Attributes:
        stream: its bytes from ``start`` on.
        start: where the stream begins; 0 where the server cannot send ranges.
        total: size of the whole file, or None if the server does not say.
        tag: what changes when the file changes (ETag, Last-Modified, fsspec's key); "" if nothing is known.
        partial: whether the source obeyed the range that was asked for.
    """

    stream: IO[bytes]
    start: int
    total: int | None
    tag: str
    partial: bool


def is_http(url: str) -> bool:
    """True if an address is reached over HTTP or HTTPS."""
    return urllib.parse.urlsplit(url).scheme in ("http", "https")


def _user_agent() -> str:
    return f"retalk-dub/{__version__}"


def _retry_after(headers: Any) -> float | None:
    """Seconds to wait that a Retry-After header asks for, as a number or as a date; None if there is none
    that can be read.
    """
    value = (headers.get("Retry-After") or "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def transient(error: Exception) -> bool:
    """True if a failed read may succeed when repeated."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return not isinstance(
        reason, (ssl.SSLCertVerificationError, FileNotFoundError, PermissionError, IsADirectoryError)
    )


def _open_http(url: str, start: int, stop: int | None, tag: str) -> Opened:
    headers = {"User-Agent": _user_agent(), "Accept-Encoding": "identity"}
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        # A changed file must be sent whole; weak validators may not be used for this.
        if start and tag and not tag.startswith("W/"):
            headers["If-Range"] = tag
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            total = (
                re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
                if error.code == 416
                else None
            )
            if total:  # nothing is left from there on
                return Opened(io.BytesIO(), int(total[1]), int(total[1]), error.headers.get("ETag", ""), True)
            raise FetchError(
                f"{url}: HTTP {error.code} {error.reason}",
                error.code in RETRYABLE_STATUS,
                _retry_after(error.headers),
            ) from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(
            f"{url}: {getattr(error, 'reason', error) or type(error).__name__}", transient(error)
        ) from error
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise FetchError(f"{url}: the server answered with a web page, not with a file")
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and span:
        return Opened(
            cast(IO[bytes], answer), int(span[1]), None if span[2] == "*" else int(span[2]), tag, True
        )
    length = answer.headers.get("Content-Length")
    return Opened(cast(IO[bytes], answer), 0, int(length) if length else None, tag, False)


def _open_fsspec(url: str, start: int) -> Opened:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        info = filesystem.info(path)
        if info.get("type") == "directory":
            raise FetchError(f"{url}: it is a directory")
        stream = filesystem.open(path, "rb")
        size = info.get("size")
        start = start if size is None or start <= size else 0
        stream.seek(start)
        return Opened(stream, start, size, str(filesystem.ukey(path)), True)
    except FetchError:
        raise
    except Exception as error:
        if failed := read_error(url, error):
            raise failed from error
        raise


def read_error(url: str, error: Exception, place: str = "") -> FetchError | None:
    """Return what to raise for a failed read of a source, None where the error is none of a storage.

    Rules of the protocol (`retalk_models.storage_rules`) say whether to try again, and else `transient`.

    Args:
        url: of the source.
        error: of the storage or its client library.
        place: where in the file, for the message: "after 100 bytes".
    """
    fault, note = judge(url, error)
    said = f"{url}: {error or type(error).__name__}{f' {place}' if place else ''}{note}{describe(url, fault)}"
    if fault == "missing" or (fault is None and isinstance(error, FileNotFoundError)):
        return FetchError(f"{url}: no such file{note}")
    if fault is not None:
        return FetchError(said, fault == "retry")
    if isinstance(error, (ImportError, ValueError)):
        return FetchError(said)
    if isinstance(error, (OSError, http.client.HTTPException)):
        return FetchError(said, transient(error))
    return None


def open_source(url: str, start: int = 0, tag: str = "", stop: int | None = None) -> Opened:
    """Open an address for reading from byte ``start`` on.

    Args:
        url: HTTP(S), any fsspec URL, or a path.
        start: first byte wanted. The answer may start at 0 instead: see `Opened.start`.
        tag: the tag that the file had when its first bytes were read: a file that has changed since is sent
            from 0.
        stop: last byte wanted plus one (a hint: fsspec ignores it).

    Raises:
        FetchError: with ``retry`` set where trying again can help.
    """
    return _open_http(url, start, stop, tag) if is_http(url) else _open_fsspec(url, start)


class NoRangesError(FetchError):
    """The server sends whole files only."""


class RangeReader(io.RawIOBase):
    """A file on an HTTP server that can send ranges, as a seekable binary stream: each read is one request.

    Args:
        url: its address.
        attempt: runs a request, repeating it when that can help.

    Raises:
        FetchError: unreachable.
        NoRangesError: the server cannot send ranges.
    """

    def __init__(self, url: str, attempt: Callable[[Callable[[], bytes]], bytes]) -> None:
        super().__init__()
        self.url, self.attempt, self.position, self.size = url, attempt, 0, -1
        attempt(lambda: self._get(0, 1))

    def _get(self, start: int, stop: int) -> bytes:
        opened = open_source(self.url, start, stop=stop)
        with opened.stream:
            if not opened.partial or opened.start != start or opened.total is None:
                raise NoRangesError(f"{self.url}: the server does not send ranges")
            self.size = opened.total
            try:
                data = opened.stream.read(stop - start)
            except (OSError, http.client.HTTPException) as error:
                raise FetchError(f"{self.url}: {error or type(error).__name__}", True) from error
        if len(data) != min(stop, self.size) - start:
            raise FetchError(f"{self.url}: the answer ended early", True)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        stop = min(self.position + len(buffer), self.size)
        if stop <= self.position:
            return 0
        start = self.position
        data = self.attempt(lambda: self._get(start, stop))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)
