"""Location of model files: `RETALK_HOME` (a directory or any fsspec URL), else the user's cache directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import fsspec

from retalk_models.local_files import replacement


def is_remote(url: str) -> bool:
    """True if a location is an fsspec URL that is not a directory of this machine."""
    return ("://" in url or "::" in url) and not url.startswith(("file://", "local://"))


def local_path(url: str) -> Path:
    """The path of a local location, written as a path or as ``file://``."""
    return Path(url.removeprefix("file://").removeprefix("local://")).expanduser().absolute()


def user_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CACHE_HOME/retalk``, else ``~/.cache/retalk``. A relative XDG_CACHE_HOME is ignored, as its
    specification asks.
    """
    xdg = environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path("~/.cache").expanduser()) / "retalk"


def home_url(environ: Mapping[str, str] = os.environ) -> str:
    """``$RETALK_HOME``, else the user's cache directory."""
    return environ.get("RETALK_HOME") or str(user_cache(environ))


def node_copy(url: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The node-local directory that holds copies of a remote home's files, one a home, below the user's cache
    directory.
    """
    return user_cache(environ) / "nodes" / hashlib.sha256(url.encode()).hexdigest()[:12]


def join_url(base: str, *parts: str) -> str:
    """A location below a directory or URL."""
    return "/".join([base.rstrip("/"), *parts])


def node_name() -> str:
    """This machine's name, fit for a file name."""
    return "".join(char if char.isalnum() or char in "-." else "_" for char in socket.gethostname()) or "node"


def temporary_beside(path: Path) -> Path:
    """A hidden name beside a file, of this process alone on whatever nodes share the folder."""
    return path.with_name(f".{path.name}.{node_name()}.{os.getpid()}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file beside its place and rename it there, so that nobody ever reads half of it."""
    with replacement(path, temporary_beside(path)) as part:
        part.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, sorted, so that the same value gives the same bytes."""
    write_atomically(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(url: str) -> dict | None:
    """The JSON object at a path or URL ({} for any other value); None where there is no file.

    Raises:
        json.JSONDecodeError: the file is not JSON.
    """
    filesystem, path = fsspec.core.url_to_fs(url)
    with contextlib.suppress(FileNotFoundError):
        value = json.loads(filesystem.cat_file(path))
        return value if isinstance(value, dict) else {}
    return None
