"""Files by fsspec URL: plain paths, ``file://``, ``memory://``, object stores. Outputs appear whole or not at
all.

Calls to remote storage are retried (`operators.storage.retry`).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Concatenate, ParamSpec, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations, registry

from operators.storage.errors import (
    MediaError,
    StorageError,
    UnsupportedURLError,
    refusal,
    unanswered,
)
from operators.storage.looks import forget, looked_at
from operators.storage.objects import abort_uploads, is_object_store, protocols, upload_options
from operators.storage.retry import RetryingFileSystem
from operators.storage.scratch import scratch_folder
from retalk_models.installation import install_hint
from retalk_models.local_files import replacement

#: Bytes copied at a time between a local file and a remote one: what an upload or a download holds in memory.
COPY_BLOCK = 8 << 20
#: Packages that open a kind of URL and that the extra `cloud` brings.
CLOUD_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
}
#: Packages of kinds of URL that fsspec does not know before the package is there.
LATE_PACKAGES = {"abfss": "adlfs"}
#: Packages whose name differs from that of the module that fsspec imports.
PACKAGE_OF_MODULE = {
    "lakefs_spec": "lakefs-spec",
    "libarchive": "libarchive-c",
    "smbclient": "smbprotocol",
    "webdav4": "webdav4[fsspec]",
}
#: Kinds of URL that hold another one: archives, caches and views.
WRAPPERS = {
    *("zip", "tar", "libarchive", "dir", "reference"),
    *("simplecache", "filecache", "blockcache", "cached"),
}
#: What is said of a Windows path.
WINDOWS_ADVICE = (
    "looks like a Windows path; give a path of this system (in WSL, D:\\films is /mnt/d/films) or a URL"
)
# Loaded when such a URL is opened, because it needs aiohttp.
for _kind in ("http", "https"):
    fsspec.register_implementation(
        _kind, "operators.storage.web.WebFileSystem", clobber=True, errtxt="needs the package aiohttp"
    )
P = ParamSpec("P")
T = TypeVar("T")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def is_windows_path(path: str) -> bool:
    """Recognize ``D:/x``, ``D:\\x`` and ``\\\\server\\x``, which name nothing on other systems."""
    return _WINDOWS.match(path) is not None and os.name != "nt"


def is_chain(name: str) -> bool:
    """Tell a chain of URLs (``zip://a.mp4::s3://bucket/b.zip``) from a name in which ``::`` merely stands."""
    first, mark, rest = name.partition("::")
    return bool(mark) and (first.partition("://")[0] in WRAPPERS or "://" in rest)


def is_url(name: str) -> bool:
    """Tell a URL or a chain of them from a path of this machine."""
    return "://" in name or is_chain(name)


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec file system of a URL and the path inside it.

    Calls of one that is not on this machine are repeated for a while when it cannot answer; they raise
    `StorageError` when it still cannot.

    Raises:
        UnsupportedURLError: a kind of URL that is unknown or whose package is not installed, or a Windows
            path.
    """
    url = str(url)
    if not is_url(url):
        if is_windows_path(url):
            raise UnsupportedURLError(f"{url}: {WINDOWS_ADVICE}")
        # A plain path, found without taking URLs apart, which costs more than most of what is then done with
        # it.
        return LocalFileSystem(), str(LocalFileSystem._strip_protocol(url))
    try:
        fs, path = _unchained(url) if "::" in url and not is_chain(url) else fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as problem:
        raise _unsupported(url, problem) from problem
    if not isinstance(fs, (LocalFileSystem, MemoryFileSystem)):
        scheme = url.partition("://")[0].lower()
        named = scheme if scheme in protocols(fs) else ""
        fs = cast(fsspec.AbstractFileSystem, RetryingFileSystem(fs, named))
    return fs, str(path)


def _unchained(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """`fsspec.core.url_to_fs` of a URL in whose path ``::`` stands."""
    kind = fsspec.get_filesystem_class(url.partition("://")[0])
    return kind(**kind._get_kwargs_from_urls(url)), str(kind._strip_protocol(url))


def is_known_kind(scheme: str) -> bool:
    """Tell whether a scheme can be opened here, perhaps after a package is installed."""
    return scheme in known_implementations or scheme in registry or scheme in LATE_PACKAGES


def _unsupported(url: str, problem: ImportError | ValueError) -> UnsupportedURLError:
    """Say in one line why fsspec cannot open a URL."""
    kinds = [part.partition("://")[0] for part in url.split("::")]
    if needed := _needed_package(kinds, problem):
        kind, package = needed
        install = (
            install_hint("cloud")
            if CLOUD_PACKAGES.get(kind) == package
            else f"pip install {shlex.quote(package)}"
        )
        return UnsupportedURLError(
            f"{url}: {kind}:// needs the package {package}, which is not installed: {install}"
        )
    if isinstance(problem, ImportError):
        return UnsupportedURLError(f"{url}: a package is not installed: {problem}")
    unknown = [kind for kind in kinds if not is_known_kind(kind) and "/" not in kind]
    if unknown:
        return UnsupportedURLError(
            f"{url}: {unknown[0]!r} is an unknown kind of URL; known are s3://, gs://, https://, file:// and others"
        )
    return UnsupportedURLError(f"{url}: not a path or URL ({problem})")


def _needed_package(kinds: Sequence[str], problem: ImportError | ValueError) -> tuple[str, str] | None:
    """A kind of URL and the package that it needs, of those that are not installed; None if nothing tells."""
    for kind in kinds:
        if isinstance(problem, ImportError) and kind in CLOUD_PACKAGES:
            return kind, CLOUD_PACKAGES[kind]
        if kind in LATE_PACKAGES and kind not in registry:
            return kind, LATE_PACKAGES[kind]
    # fsspec raises its own error from that of the module that it could not import.
    missing = getattr(problem.__cause__, "name", None)
    for kind in kinds:
        if missing and kind in known_implementations and isinstance(problem, ImportError):
            module = str(missing).partition(".")[0]
            return kind, PACKAGE_OF_MODULE.get(module, module)
    return None


def local_path(url: str) -> Path | None:
    """The path of a URL on this machine, None when it lies elsewhere."""
    fs, path = filesystem(url)
    return Path(path) if isinstance(fs, LocalFileSystem) else None


def normalized(path: str) -> str:
    """Return a path of this machine without ``..`` where it leads to the same file then; others, and URLs, as
    they are.
    """
    if is_url(path) or ".." not in path.split("/"):
        return path
    plain = os.path.normpath(path)
    return plain if os.path.realpath(plain) == os.path.realpath(path) else path


def exists(url: str) -> bool:
    """True if a file or folder exists."""
    fs, path = filesystem(url)
    return bool(fs.exists(path))


def join(url: str, *parts: str) -> str:
    """Append path components to a URL, with ``/`` between them."""
    return "/".join([str(url).rstrip("/") or "/", *(part.strip("/") for part in parts)]).replace(
        "//", "/", str(url) == "/"
    )


def suffix(url: str) -> str:
    """Lower-case file name suffix of a URL with its dot, such as ``.mp4``; empty when there is none."""
    return Path(filesystem(url)[1]).suffix.lower()


def fingerprint(url: str) -> tuple[str, int, str]:
    """Identity of a file's content: its URL, size in bytes (-1 where its server does not say) and modification
    time or entity tag.

    Raises:
        MediaError: the file is missing, a directory or empty.
        StorageError: it cannot be looked at.
    """
    url = str(url)
    return _fingerprint(url) if local_path(url) is not None else looked_at(url, lambda: _fingerprint(url))


def _fingerprint(url: str) -> tuple[str, int, str]:
    """`fingerprint`, by asking the storage."""
    fs, path = filesystem(url)
    try:
        info = fs.info(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error, FileNotFoundError) and (silent := unanswered(error)):
            raise StorageError(f"{url}: cannot be reached ({silent}); check the address") from error
        raise MediaError(f"{url}: no such file; check the path") from error
    except PermissionError as error:
        rights = f"({refusal(error)}); check the rights of its folder"
        raise StorageError(f"{url}: cannot be read {rights}") from error
    if info["type"] == "directory":
        raise MediaError(f"{url}: is a directory; name a media file inside it")
    # A web server need not say how long a file is.
    size = -1 if info.get("size", 0) is None else int(info["size"])
    if size == 0:
        raise MediaError(f"{url}: the file is empty (0 bytes); copy it again")
    stamps = ("mtime", "ETag", "etag", "LastModified", "created")
    return url, size, str(next((info[key] for key in stamps if info.get(key)), ""))


def kept_by_file(
    maxsize: int,
) -> Callable[[Callable[Concatenate[str, P], T]], Callable[Concatenate[str, P], T]]:
    """Decorate a function of a file: its results are kept (the last ``maxsize``) until the file changes.

    Results are shared between callers and must not be changed by them. The decorated function raises what
    `fingerprint` raises, beside its own errors, which are not kept.

    Args:
        maxsize: results kept.

    Returns:
        A decorator of a function of a URL and further hashable arguments; the URL is passed as a str.
    """

    def decorate(function: Callable[Concatenate[str, P], T]) -> Callable[Concatenate[str, P], T]:
        @functools.lru_cache(maxsize)
        def kept(identity: tuple[str, int, str], *args: P.args, **kwargs: P.kwargs) -> T:
            return function(identity[0], *args, **kwargs)

        @functools.wraps(function)
        def call(url: str, *args: P.args, **kwargs: P.kwargs) -> T:
            return kept(fingerprint(url), *args, **kwargs)  # type: ignore[arg-type]

        return call

    return decorate


def open_media(url: str) -> str | BinaryIO:
    """Argument of `av.open` that reads a URL: a ``file:`` name on this machine, a seekable fsspec file object
    elsewhere.

    A file object must be closed by the caller; `operators.media.container.open_input` does all of it.
    """
    local = local_path(url)
    if local is not None:
        # The prefix keeps FFmpeg from taking a colon in the name for a protocol.
        return f"file:{local}"
    fs, path = filesystem(url)
    return fs.open(path, "rb")


@contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """A local path with the file's content, for libraries that need one. Local files are given as they are,
    others are downloaded to a temporary file that is removed at the end.
    """
    local = local_path(url)
    if local is not None:
        yield local
        return
    fs, path = filesystem(url)
    with scratch_folder() as folder:
        copy = folder / (Path(path).name or "file")
        with fs.open(path, "rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, COPY_BLOCK)
        yield copy


@contextmanager
def atomic_write(url: str) -> Iterator[Path]:
    """Write a file that appears whole at ``url`` or not at all.

    Yields a local path to write to, with the suffix of ``url``. When the block ends normally the file is
    moved into place: on this machine by fsync and rename inside the target's folder, elsewhere by an upload
    in parts that becomes visible when it is complete. When the block raises, nothing appears and the
    temporary file is removed.
    """
    local = local_path(url)
    if local is not None:
        with replacement(local, local.with_name(_temporary_name(local.name))) as temporary:
            yield temporary
        return
    with scratch_folder() as folder:
        temporary = folder / f"upload{suffix(url)}"
        yield temporary
        _upload(temporary, url)
        forget(url)


def _upload(source: Path, url: str) -> None:
    """Copy a local file to another file system so that half a file never shows under its name.

    Object stores show an object when its upload is complete; elsewhere the file is sent under a temporary
    name and renamed.
    """
    fs, path = filesystem(url)
    if is_object_store(fs):
        fs.put_file(str(source), path, **upload_options(fs, source.stat().st_size))
        return
    folder = fs._parent(path)
    fs.makedirs(folder, exist_ok=True)
    temporary = f"{folder.rstrip('/')}/{_temporary_name(Path(path).name)}"
    try:
        fs.put_file(str(source), temporary)
        fs.mv(temporary, path)
    finally:
        if fs.exists(temporary):
            fs.rm_file(temporary)


# --- what killed writers leave ------------------------------------------------------------------------------
def _mark(name: str) -> str:
    """Prefix of a file's temporary names: hidden, and distinct from those of other files whose names begin
    alike.
    """
    # Cut by bytes: a name has at most 255 of them, and a character up to four.
    stem = Path(name).stem.encode()[:60].decode(errors="ignore")
    return f".{stem}.{hashlib.sha256(name.encode()).hexdigest()[:8]}."


def _temporary_name(name: str) -> str:
    return f"{_mark(name)}{os.getpid()}-{uuid.uuid4().hex[:8]}.part{Path(name).suffix}"


_TEMPORARY = re.compile(r"(?P<mark>\..*\.[0-9a-f]{8}\.)(?P<pid>\d+)-[0-9a-f]{8}\.part(\.\w*)?", re.DOTALL)


def _hidden(fs: fsspec.AbstractFileSystem, path: str, below: bool) -> list[str]:
    """Hidden files in a folder, and in the folders below. On this machine without fsspec's cost for each."""
    if isinstance(fs, LocalFileSystem):
        walk = os.walk(path) if below else [(path, [], os.listdir(path))]
        return [f"{folder}/{name}" for folder, _, names in walk for name in names if name.startswith(".")]
    found: list[str] = fs.find(path) if below else fs.ls(path, detail=False)
    return [file for file in found if file.rstrip("/").rsplit("/", 1)[-1].startswith(".")]


def sweep(folder: str, names: Iterable[str] | None = None, keep_own: bool = True) -> list[str]:
    """Remove temporary files and incomplete uploads of `atomic_write` whose writers were killed. Only for
    folders or files that no living process writes.

    Args:
        folder: URL of a folder.
        names: files in it whose temporary ones are removed; None: those of all files in the folder and in all
            folders below.
        keep_own: leave those that this process writes.

    Returns:
        URLs of what was removed.
    """
    fs, path = filesystem(folder)
    if is_object_store(fs):
        return abort_uploads(fs, path, None if names is None else list(names))
    if not fs.isdir(path):
        return []
    hidden = _hidden(fs, path, below=names is None)
    marks = {_mark(name) for name in names or ()} if hidden else set()
    removed = []
    for found in hidden:
        match = _TEMPORARY.fullmatch(found.rstrip("/").rsplit("/", 1)[-1])
        if (
            match
            and (names is None or match["mark"] in marks)
            and not (keep_own and int(match["pid"]) == os.getpid())
        ):
            try:
                fs.rm_file(found)
            except FileNotFoundError:
                continue  # its writer was alive after all and has just ended
            removed.append(str(fs.unstrip_protocol(found)))
    return removed
