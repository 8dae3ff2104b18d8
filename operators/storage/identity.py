"""Identity of files: two spellings of one file are told to be the same before one of them is written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import unquote, urlsplit

from operators.storage.files import is_chain, local_path

#: Other names of a scheme.
ALIASES = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs", "local": "file"}
#: Schemes whose first part is a host, with perhaps a port.
HOSTS = {"http", "https", "ftp", "ftps", "sftp", "ssh", "smb", "webhdfs", "hdfs", "webdav"}

#: Scheme, host (or "") and path.
Identity = tuple[str, str, str]
T = TypeVar("T")


def identity(url: str) -> Identity:
    """Return a key that is the same for all spellings of a path or URL.

    Paths of this machine are followed through symlinks and ``..``; URLs lose their credentials, query, and
    empty and dotted parts. The file need not exist.

    Raises:
        UnsupportedURLError: a kind of URL that cannot be used here.
    """
    url = str(url)
    if is_chain(url):
        return "", "", url  # an archive or a cache: only ever an input
    scheme, colon, rest = url.partition("://")
    scheme = ALIASES.get(scheme.lower(), scheme.lower())
    if not colon or scheme == "file":
        local = local_path(url)
        return "file", "", os.path.realpath(url if local is None else local)
    if scheme in HOSTS:
        try:
            split = urlsplit(url)
        except ValueError:
            return "", "", url  # no URL that anything can open
        return scheme, split.netloc.rsplit("@", 1)[-1].lower(), posixpath.normpath(unquote(split.path) or "/")
    # Credentials in front of a bucket name no place; in abfs:// a container stands there.
    if scheme != "abfs" and ":" in rest.split("@", 1)[0]:
        rest = rest.rsplit("@", 1)[-1]
    return scheme, "", posixpath.normpath(f"/{rest}").lstrip("/")


class FileMap(Generic[T]):
    """Files with something known of each, found by any of their spellings, hard links included.

    Args:
        files: URL of each file and what is known of it; of equal ones the first counts.
    """

    def __init__(self, files: Iterable[tuple[str, T]]) -> None:
        self._known: dict[Identity, T] = {}
        for url, known in files:
            self._known.setdefault(identity(url), known)
        self._inodes: dict[tuple[int, int], T] | None = None

    def find(self, url: str) -> T | None:
        """Return what is known of a file; None if it is none of these."""
        wanted = identity(url)
        if wanted in self._known or wanted[0] != "file":
            return self._known.get(wanted)
        inode = _inode(wanted[2], 2)
        if inode is None:
            return None
        if self._inodes is None:
            # Looked at once: most outputs do not exist, and few that do have a second name.
            found = (
                (_inode(path), known) for (kind, _, path), known in self._known.items() if kind == "file"
            )
            self._inodes = {one: known for one, known in found if one is not None}
        return self._inodes.get(inode)


def _inode(path: str, links: int = 1) -> tuple[int, int] | None:
    """Device and inode of a file with at least so many names; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_nlink >= links else None
