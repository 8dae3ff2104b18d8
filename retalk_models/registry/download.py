"""Transfer of one file from one address into a partial file: resumed where possible, repeated where that
helps, limited in size.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

import fsspec

from retalk_models.registry.catalog import show_size
from retalk_models.registry.errors import FetchError
from retalk_models.registry.home import write_json
from retalk_models.registry.sources import NoRangesError, RangeReader, is_http, open_source, read_error
from retalk_models.retrying import doubled, retry

CHUNK = 1 << 20
#: Tries without a mebibyte of progress before an address is given up.
ATTEMPTS = 6
MAX_WAIT_SECONDS = 60.0
#: Reads of a zip archive over HTTP are at least this long: its directory comes in one or two of them.
RANGE_BUFFER = 1 << 15

T = TypeVar("T")


class DownloadProgress:
    """Progress of a transfer; this base class reports nothing. All methods may be called from several
    threads.
    """

    def start(self, file: str, total: int | None, done: int, source: str) -> None:
        """A transfer begins, or goes on after ``done`` bytes."""

    def at(self, file: str, done: int) -> None:
        """``done`` bytes are there."""

    def finish(self, file: str) -> None:
        """The transfer of a file is over."""

    def say(self, text: str) -> None:
        """Something a person should read."""


class Attempts:
    """Retry of calls that may succeed later: waits 1, 2, 4 ... seconds, or as long as the server asks.

    Args:
        cancelled: set by somebody who wants everything to stop.
        say: told of each wait.
        first_wait: seconds before the first repetition.
        limit: failures without progress before giving up.
    """

    def __init__(
        self,
        cancelled: threading.Event | None = None,
        say: Callable[[str], None] = lambda text: None,
        first_wait: float = 1.0,
        limit: int = ATTEMPTS,
    ) -> None:
        self.cancelled, self.say, self.first_wait, self.limit = (
            cancelled or threading.Event(),
            say,
            first_wait,
            limit,
        )
        self.failures = 0

    def check(self) -> None:
        """Raise if everything is to stop."""
        if self.cancelled.is_set():
            raise FetchError("cancelled")

    def failed(self, error: FetchError) -> None:
        """Wait after a failure, or give up by raising it."""
        self.failures += 1
        if not error.retry or self.failures >= self.limit:
            raise error
        wait = doubled(self.first_wait, self.failures, MAX_WAIT_SECONDS)
        if error.retry_after is not None:
            wait = min(error.retry_after, MAX_WAIT_SECONDS)
        self.say(f"{error}; trying again in {wait:.3g} s ({self.failures} of {self.limit - 1})")
        self.cancelled.wait(wait)
        self.check()

    def run(self, action: Callable[[], T]) -> T:
        """The action's result, once it succeeds."""

        def failed(error: Exception, _: int) -> None:
            if not isinstance(error, FetchError):
                raise error
            self.failed(error)

        self.check()
        result = retry(action, failed)
        self.failures = 0
        return result


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path, url: str, trust_any: bool) -> tuple[int, str, int | None]:
    """Bytes to go on from, with the tag and total they were read under; 0 where the partial file must not be
    used.

    Bytes of another address are used only where a digest will judge the result (``trust_any``); bytes without
    a tag likewise.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_path(part).read_text())
        size = part.stat().st_size
        if trust_any or (note["url"] == url and note["tag"]):
            return size, note["tag"] if note["url"] == url else "", note["total"]
    return 0, "", None


def _check_space(part: Path, needed: int, url: str) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise FetchError(
            f"{url}: {show_size(needed)} are needed and {show_size(free)} are free in {part.parent}"
        )


def _transfer(
    url: str,
    part: Path,
    trust_any: bool,
    expected: int | None,
    progress: DownloadProgress,
    file: str,
    attempts: Attempts,
) -> bool:
    """One request: begin the partial file or go on with it. Returns whether it went on with earlier bytes."""
    have, tag, total = _read_note(part, url, trust_any)
    opened = open_source(url, have, tag)
    with opened.stream as stream:
        if have and (
            opened.start != have or opened.total != total or (tag and opened.tag and opened.tag != tag)
        ):
            if opened.start:  # it is another file now: begin again
                part.unlink(missing_ok=True)
                raise FetchError(f"{url}: the file has changed since its first part was read", True, 0.0)
            have = 0
        if None not in (opened.total, expected) and opened.total != expected:
            raise FetchError(f"{url}: the file there has {opened.total} bytes, not {expected}")
        total = opened.total if opened.total is not None else expected
        if total is not None:
            _check_space(part, total - have, url)
        write_json(_note_path(part), {"url": url, "tag": opened.tag, "total": opened.total})
        progress.start(file, total, have, url)
        done = have
        with part.open("r+b" if have else "wb") as sink:
            sink.seek(have)
            sink.truncate()
            while True:
                attempts.check()
                try:
                    chunk = stream.read(CHUNK)
                except Exception as error:
                    if failed := read_error(url, error, f"after {done} bytes"):
                        raise failed from error
                    raise
                if not chunk:
                    break
                sink.write(chunk)
                done += len(chunk)
                progress.at(file, done)
                if done - have >= CHUNK:
                    attempts.failures = 0
    if total is not None and done < total:
        raise FetchError(f"{url}: the connection ended after {done} of {total} bytes", True)
    return have > 0


def download(
    url: str,
    part: Path,
    file: str = "",
    *,
    trust_any: bool = False,
    expected: int | None = None,
    progress: DownloadProgress | None = None,
    attempts: Attempts | None = None,
) -> bool:
    """Bring the whole file at ``url`` into ``part``.

    Args:
        part: the partial file. If an earlier transfer left it, only the rest is asked for. It stays when the
            transfer fails.
        file: the name that ``progress`` is told.
        trust_any: the caller will check a digest, so bytes of another mirror and bytes without a validator
            may be continued.
        expected: exact size in bytes, if it is known: a file of another size is not transferred.

    Returns:
        True where the file was put together from more than one request.

    Raises:
        FetchError: no more can be done with this address.
        OSError: the partial file cannot be written (a full disk, a quota, no permission).
    """
    progress, attempts = progress or DownloadProgress(), attempts or Attempts()
    part.parent.mkdir(parents=True, exist_ok=True)
    while True:
        attempts.check()
        try:
            return _transfer(url, part, trust_any, expected, progress, file, attempts)
        except FetchError as error:
            attempts.failed(error)


def discard(part: Path) -> None:
    """Remove a partial file and its note."""
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def sizes(paths: Iterable[Path]) -> dict[str, int]:
    """Sizes of those of these files that exist: what changes while a transfer gets on."""
    found = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.stat().st_size
    return found


def _read_member(archive: zipfile.ZipFile, member: str, url: str) -> bytes:
    names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == member]
    if not names:
        raise FetchError(
            f"{url}: the archive has no member {member}, but: {', '.join(archive.namelist()[:10])}"
        )
    return archive.read(names[0])


def download_member(
    url: str,
    member: str,
    part: Path,
    *,
    progress: DownloadProgress | None = None,
    attempts: Attempts | None = None,
) -> None:
    """Bring one member of the zip archive at ``url`` into ``part``, reading only the archive's directory and
    the member.

    Where the server sends whole files only, the whole archive is transferred, beside ``part``, and deleted
    after use.

    Args:
        member: the member's name without folders.

    Raises:
        FetchError: unreachable, no zip archive, no such member.
    """
    progress, attempts = progress or DownloadProgress(), attempts or Attempts()
    part.parent.mkdir(parents=True, exist_ok=True)
    whole = part.with_name(f"{part.name}.zip")
    try:
        try:
            if is_http(url):
                with (
                    RangeReader(url, attempts.run) as ranges,
                    zipfile.ZipFile(BufferedReader(ranges, RANGE_BUFFER)) as archive,
                ):
                    data = _read_member(archive, member, url)
            else:
                with open_source(url).stream as stream, zipfile.ZipFile(stream) as archive:
                    data = _read_member(archive, member, url)
        except NoRangesError as error:
            progress.say(f"{error}: the whole archive is transferred for its member {member}")
            download(url, whole, member, progress=progress, attempts=attempts)
            with zipfile.ZipFile(whole) as archive:
                data = _read_member(archive, member, url)
            discard(whole)
    except (
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
    ) as error:  # the latter two: encrypted, unknown compression
        discard(whole)
        raise FetchError(f"{url}: not a usable zip archive ({error})") from error
    progress.start(member, len(data), 0, f"{url} ({member})")
    part.write_bytes(data)
    progress.at(member, len(data))


def upload(path: Path, url: str) -> None:
    """Copy a local file to an fsspec URL; object stores show it only when it is complete."""
    filesystem, target = fsspec.core.url_to_fs(url)
    parent = target.rsplit("/", 1)[0]
    filesystem.makedirs(parent, exist_ok=True)
    filesystem.put_file(str(path), target)
