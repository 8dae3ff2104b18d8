"""Registry of model files: presence, check of digests, and one error that names all missing files.

The cache is `$RETALK_HOME/models` (see `registry_home`); where RETALK_HOME is an fsspec URL, files are copied
to this node before use. `fetch` brings files in; `weights` loads networks from them.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import fsspec

from retalk_models.local_files import sha256_of
from retalk_models.registry.catalog import Catalog, ModelFile, load_catalog, show_size
from retalk_models.registry.download import Attempts, DownloadProgress, discard, download, sizes
from retalk_models.registry.errors import HashMismatchError, WeightsError
from retalk_models.registry.home import home_url, is_remote, join_url, local_path, node_copy, node_name
from retalk_models.registry.lock import NO_LOCKS, STALE_SECONDS, DigestCache, HashLock, exclusive
from retalk_models.registry.notices import write_licence
from retalk_models.registry.own_files import own_files, unpinned

log = logging.getLogger(__name__)

LOCK_NAME = "models.lock.json"
#: How files begin that servers send in place of what was asked for: web pages, JSON errors, Git LFS pointers.
NOT_WEIGHTS = re.compile(rb"\s*(<|\{|version https://git-lfs)")


@dataclasses.dataclass(frozen=True)
class VerificationResult:
    """Result of checking one file.

    Attributes:
        state: "ok", "missing", "mismatch" (other bytes than pinned) or "implausible" (nothing is pinned, and
            it cannot be this file).
        sha256: its digest, "" if it was not computed.
        pinned_by: "catalogue" or the lock file's name, "" if nothing pins it.
        note: what is wrong, "" if nothing.
    """

    state: str
    sha256: str = ""
    pinned_by: str = ""
    note: str = ""


def implausible(entry: ModelFile, path: Path) -> str:
    """Reason why a file without a known digest cannot be ``entry``; "" if it can. Run before its digest is
    trusted.
    """
    with path.open("rb") as stream:
        head = stream.read(64)
    if NOT_WEIGHTS.match(head) or not head:
        return f"it is {'empty' if not head else 'a text (an error page?)'}: {head[:40]!r}"
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "it is cut short: the end of its zip archive is missing"
    return entry.wrong_size(path.stat().st_size)


class Registry:
    """Model files of one cache.

    Args:
        home: a directory or fsspec URL; default: ``$RETALK_HOME``, else the user's cache directory.
        catalog: what files there are; default: the package's catalogue.
        lock: the lock file of digests trusted on first use, a path or fsspec URL; default: ``$RETALK_LOCK``,
            else in the cache.
        own: the user's own files by their name in the catalogue, in the place of the cache's. They are held to no digest.
        stale: seconds without visible work after which the holder of a lock is given up.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        catalog: Catalog | None = None,
        lock: str | None = None,
        stale: float = STALE_SECONDS,
        own: Mapping[str, Path] | None = None,
    ) -> None:
        self.own = dict(own or {})
        self.home = str(home) if home is not None else home_url()
        self.catalog = catalog or load_catalog()
        self.stale = stale
        #: The remote models folder's URL, or None where the cache is a directory of this machine or a shared
        #: mount.
        self.remote = join_url(self.home, "models") if is_remote(self.home) else None
        #: The local directory that networks are loaded from.
        self.directory = (node_copy(self.home) if self.remote else local_path(self.home)) / "models"
        lock = (
            lock or os.environ.get("RETALK_LOCK") or join_url(self.remote or str(self.directory), LOCK_NAME)
        )
        self.lock = HashLock(lock if is_remote(lock) else str(local_path(lock)), self.locks)
        self.stamps = DigestCache(self.directory / ".verified")

    @property
    def locks(self) -> Path:
        """Folder of the file locks."""
        return self.directory / ".locks"

    @property
    def rejected(self) -> Path:
        """Folder of files whose digest was wrong; nothing is loaded from there."""
        return self.directory / "rejected"

    def path(self, file: str) -> Path:
        """Path of a model file on this node, present or not."""
        return self.own.get(file, self.directory / file)

    def part(self, file: str, held: bool) -> Path:
        """The partial file of this node; of this process alone where the lock is not ``held``."""
        owner = node_name() if held else f"{node_name()}-{os.getpid()}"
        return self.directory / ".partial" / f"{file}.{owner}.part"

    def expected(self, entry: ModelFile) -> tuple[str | None, str]:
        """The digest that a file must have (None: unknown) and what pins it."""
        if entry.file not in self.own and (entry.sha256 is None or entry.seen_once):
            pinned = self.lock.sha256(entry.file)
            if pinned is not None:
                return pinned, self.lock.url
        return (entry.sha256, "catalogue") if entry.sha256 else (None, "")

    def check(self, entry: ModelFile, again: bool = False) -> VerificationResult:
        """Check that a file on this node is the right one. Hashes it once, and again only if it changed or
        ``again`` is set.
        """
        path = self.path(entry.file)
        if not path.is_file():
            return VerificationResult("missing")
        digest, pinned_by = self.expected(entry)
        size = path.stat().st_size
        if digest is None:
            wrong = implausible(entry, path)
            return (
                VerificationResult("implausible", note=wrong)
                if wrong
                else VerificationResult("ok", self._digest(path, again))
            )
        if entry.size is not None and size != entry.size and pinned_by == "catalogue":
            return VerificationResult("mismatch", "", pinned_by, entry.wrong_size(size))
        found = self._digest(path, again)
        if found != digest:
            return VerificationResult(
                "mismatch", found, pinned_by, f"its SHA-256 is {found}, and {pinned_by} pins {digest}"
            )
        return VerificationResult("ok", found, pinned_by)

    def _digest(self, path: Path, again: bool) -> str:
        digest = None if again else self.stamps.sha256(path)
        if digest is None:
            digest = sha256_of(path)
            self.stamps.write(path, digest)
        return digest

    def trust(
        self, entry: ModelFile, digest: str, source: str, say: Callable[[str], None] = log.warning
    ) -> None:
        """Write down the digest of a file that nothing pins, and say so; not of the user's own."""
        if entry.file in self.own:
            return
        where = self.lock.url
        try:
            self.lock.pin(entry.file, digest, self.path(entry.file).stat().st_size, source)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            where = f"nothing: {self.lock.url} cannot be written"
        say(
            f"{entry.file}: its publisher states no digest; trusting SHA-256 {digest} on first use, from {source} (written to {where})"
        )

    def accept(
        self, entry: ModelFile, part: Path, source: str, say: Callable[[str], None] = log.warning
    ) -> Path:
        """Move a complete transfer into the cache if it is the right file; else into ``rejected``.

        Raises:
            HashMismatchError: it is not.
        """
        digest, pinned_by = self.expected(entry)
        found = sha256_of(part)
        wrong = implausible(entry, part) if digest is None else ""
        if digest is not None and found != digest:
            wrong = f"its SHA-256 is {found}, and {pinned_by} pins {digest}"
        if wrong:
            self.rejected.mkdir(parents=True, exist_ok=True)
            os.replace(part, self.rejected / entry.file)
            discard(part)
            raise HashMismatchError(self._mismatch(entry, source, wrong, found), [entry.file])
        path = self.path(entry.file)
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
        discard(part)
        self.stamps.write(path, found)
        write_licence(entry, path)
        if digest is None:
            self.trust(entry, found, source, say)
        return path

    def _mismatch(self, entry: ModelFile, source: str, wrong: str, found: str) -> str:
        text = f"{entry.file} from {source} is not the right file: {wrong}. It is not used; it lies in {self.rejected / entry.file}."
        if entry.seen_once and "SHA-256" in wrong:
            text += (
                f" The catalogue's digest was seen in one place only. If you know that this file is good: retalk models pull {entry.file}"
                f" --from {self.rejected} --accept-hash {entry.file}={found}"
            )
        return text

    # Queries of engines

    def is_local(self, entry: ModelFile) -> bool:
        """True if a file of the right size is on this node. Reads no bytes."""
        path = self.path(entry.file)
        return path.is_file() and not entry.wrong_size(path.stat().st_size)

    def is_in_remote_home(self, entry: ModelFile) -> bool:
        """True if the remote home has a file."""
        if self.remote is None or entry.file in self.own:
            return False
        filesystem, path = fsspec.core.url_to_fs(join_url(self.remote, entry.file))
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))

    def missing(self, names: Iterable[str]) -> list[str]:
        """Files of these networks or files that neither this node nor the remote home has."""
        return [
            entry.file
            for entry in self.catalog.files_of(names)
            if not self.is_local(entry) and not self.is_in_remote_home(entry)
        ]

    def available(self, name: str) -> bool:
        """True if all files of a network, or a file, are in the cache. Reads no bytes of them."""
        return not self.missing([name])

    def require(self, names: Iterable[str], progress: DownloadProgress | None = None) -> dict[str, Path]:
        """Paths on this node of all files of these networks or files, by file name, checked against their
        digests.

        Files of a remote home are copied to this node; nothing is fetched from the internet.

        Raises:
            WeightsError: files are missing (one error names them all) or wrong.
        """
        entries = self.catalog.files_of(names)
        absent = [
            entry for entry in entries if not self.is_local(entry) and not self.is_in_remote_home(entry)
        ]
        if absent:
            raise WeightsError(self._absent(absent), [entry.file for entry in absent], pull_command(absent))
        paths = {}
        for entry in entries:
            if not self.path(entry.file).is_file() or not self.is_local(entry):
                self.copy_to_node(entry, progress or DownloadProgress())
            verdict = self.check(entry)
            if verdict.state != "ok":
                wrong = f"{self.path(entry.file)}: {verdict.note}: it is not the right file"
                raise HashMismatchError(wrong, [entry.file], pull_command([entry]))
            if not verdict.pinned_by:
                self.trust(entry, verdict.sha256, str(self.path(entry.file)))
            paths[entry.file] = self.path(entry.file)
        return paths

    def _absent(self, absent: list[ModelFile]) -> str:
        lines = [
            f"{len(absent)} model file{'s' if len(absent) > 1 else ''} missing from {self.remote or self.directory}:"
        ]
        for entry in absent:
            path = self.path(entry.file)
            wrong = (
                f"; the file there is wrong: {entry.wrong_size(path.stat().st_size)}"
                if path.is_file()
                else ""
            )
            lines.append(f"  {entry.file} ({show_size(entry.size or entry.about)}; {entry.used_by}){wrong}")
        return "\n".join(lines)

    def copy_to_node(
        self, entry: ModelFile, progress: DownloadProgress, attempts: Attempts | None = None
    ) -> Path:
        """Copy a file of the remote home to this node, checked; other processes that want it wait for this
        one.
        """
        assert self.remote is not None
        url = join_url(self.remote, entry.file)
        with self.exclusive(entry, progress.say) as held:
            if self.check(entry).state != "ok":
                part = self.part(entry.file, held)
                download(
                    url,
                    part,
                    entry.file,
                    trust_any=self.expected(entry)[0] is not None,
                    progress=progress,
                    attempts=attempts,
                )
                self.accept(entry, part, url, progress.say)
                progress.finish(entry.file)
        return self.path(entry.file)

    def exclusive(self, entry: ModelFile, say: Callable[[str], None]) -> AbstractContextManager[bool]:
        """The lock of a file among processes and nodes: see `registry_lock.exclusive`."""
        partial = self.directory / ".partial"
        partial.mkdir(parents=True, exist_ok=True)
        return exclusive(
            self.locks, entry.file, lambda: sizes(partial.glob(f"{entry.file}.*")), self.stale, say
        )


def pull_command(entries: Iterable[ModelFile]) -> str:
    """The command that brings these files."""
    return " ".join(["retalk models pull", *(entry.file for entry in entries)])


def writable_or_say(error: OSError, directory: Path, file: str) -> WeightsError:
    """A `WeightsError` that says why a file could not be written in the cache."""
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the quota is used up",
        errno.EFBIG: "the file would be larger than this process may write",
    }
    reason = reasons.get(error.errno or 0, str(error))
    return WeightsError(
        f"{file}: cannot be written in {directory}: {reason}. What has been transferred is kept; "
        "make room, or set RETALK_HOME to another directory, and run the same command again",
        [file],
    )


def default_registry() -> Registry:
    """The registry of this environment: RETALK_HOME, RETALK_LOCK and XDG_CACHE_HOME are read at each call."""
    return Registry()


def available(name: str) -> bool:
    """True if all model files of a network ("lnet"), or a file ("LNet.pth"), are in the cache. Reads no bytes
    of them.
    """
    return default_registry().available(name)


def missing(names: Iterable[str]) -> list[str]:
    """Model files of these networks or files that are not in the cache, by file name."""
    return default_registry().missing(names)


def require(names: Iterable[str]) -> dict[str, Path]:
    """Local paths by file name of all model files of these networks or files, each checked against its
    digest.

    Raises:
        WeightsError: one error that names all the missing files and the command that brings them.
    """
    return default_registry().require(names)


def home_registry(weights: str = "") -> Registry:
    """Return the registry of the official files (``""``), of another home laid out like RETALK_HOME (files in its ``models``), or of
    the official files with some of the user's own (``"person/LNet.pth"``; several are separated by commas).

    The user's files, fine-tuned ones for instance, are recognised by name and held to no digest or size of the official ones.
    Their contents must still fit the networks key by key.

    Raises:
        WeightsError: there is no such file, or it is called like none of the catalogue.
    """
    if not weights:
        return Registry()
    catalog = load_catalog()
    if own := own_files(weights, catalog):
        return Registry(None, unpinned(catalog, own), own=own)
    return Registry(weights, unpinned(catalog, catalog.files))


def check_files(names: Iterable[str], weights: str = "") -> None:
    """Raise unless all model files of these networks or files are there. Reads no bytes of them.

    Raises:
        WeightsError: one error that names all that are missing and the command that brings them; or one of the user's own
            files is none of them.
    """
    registry = home_registry(weights)
    names = list(names)
    wanted = [entry.file for entry in registry.catalog.files_of(names)]
    if idle := [path for file, path in registry.own.items() if file not in wanted]:
        raise WeightsError(
            f"{idle[0]}: is not read here; model files are {', '.join(wanted)}", [idle[0].name]
        )
    if absent := registry.missing(names):
        registry.require(absent)
