"""``--root``: paths of a manifest stay inside the folders that were named, whoever wrote the manifest.

Local paths are followed through symlinks and ``..`` before they are compared; URLs are compared by scheme,
host and path. What cannot be told apart safely is outside.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from operators.storage.addresses import REASON, is_forbidden_host
from operators.storage.files import is_chain, local_path
from operators.storage.identity import ALIASES, HOSTS
from pipelines.errors import UsageError
from pipelines.manifest.titles import Dub, Title, is_picture

#: Protocols that may come before ``::``: archives and caches of the URL behind it. Others (``reference::``,
#: ``dir::`` ...) name places of their own.
WRAPPERS = {"zip", "tar", "libarchive", "simplecache", "filecache", "blockcache"}


@dataclass(frozen=True)
class Place:
    """Place that a path leads to: scheme, host (or "") and the parts of the path."""

    scheme: str
    host: str
    parts: tuple[str, ...]

    def holds(self, other: Place) -> bool:
        """Return whether another place is this one or lies below it."""
        same = (self.scheme, self.host) == (other.scheme, other.host)
        return same and other.parts[: len(self.parts)] == self.parts


def place_of(url: str) -> Place | None:
    """The place of a path or URL; None where it cannot be said for certain.

    Raises:
        ValueError: the URL is not one.
    """
    *wrappers, target = url.split("::") if is_chain(url) else [url]
    if any(wrapper.split("://")[0] not in WRAPPERS for wrapper in wrappers) or any(ord(c) < 32 for c in url):
        return None
    scheme, colon, rest = target.partition("://")
    if not colon or scheme in ("file", "local"):
        if not colon and (":" in target.split("/")[0]):
            return None  # data: and the like
        local = local_path(target)
        return (
            None if local is None else Place("file", "", tuple(os.path.realpath(local).strip("/").split("/")))
        )
    scheme = ALIASES.get(scheme.lower(), scheme.lower())
    if scheme in HOSTS:
        split = urlsplit(target)
        port = split.port
        host, path = f"{(split.hostname or '').lower()}{f':{port}' if port else ''}", unquote(split.path)
    else:
        # Buckets and what lies in them; a user and secret in front of the bucket name no place.
        host, path = "", rest.rsplit("@", 1)[-1] if ":" in rest.split("@")[0] and scheme != "abfs" else rest
    parts = tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
    return None if ".." in parts else Place(scheme, host, parts)


class Roots:
    """Folders that paths must lie in.

    Args:
        urls: paths or URLs of folders.

    Raises:
        UsageError: one is no folder's path.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self.urls = list(urls)
        self._places = []
        for url in self.urls:
            place = _place(url)
            if place is None or "::" in url:
                raise UsageError(f"--root {url}: must be the path or URL of a folder, without '..' and '::'")
            self._places.append(place)

    def allow(self, url: str) -> bool:
        """Return whether a path or URL lies in one of the folders."""
        place = _place(url)
        return place is not None and any(root.holds(place) for root in self._places)


def _place(url: str) -> Place | None:
    try:
        return place_of(url)
    except (ValueError, ImportError):
        return None


def restrict_paths(titles: Sequence[Title], roots: Sequence[str], run_dir: str) -> list[Title]:
    """Titles with an error in place of those that name a path outside the roots, or a link-local or metadata
    address; nothing of these is opened, read or written.

    Args:
        titles: of a manifest.
        roots: what ``--root`` named; without any, nothing is confined.
        run_dir: the run directory, where outputs may lie too: it was chosen by who runs this, not by the
            manifest.

    Raises:
        UsageError: a root is no folder's path.
    """
    titles = [_guarded(title) for title in titles]
    if not roots:
        return titles
    inside, outputs = Roots(roots), Roots([*roots, run_dir])
    return [_confined(title, inside, outputs) for title in titles]


def forbidden_host(url: str) -> str:
    """Return the host of a URL, or of one in a chain, where no input is read from; "" where there is none."""
    for one in url.split("::") if is_chain(url) else [url]:
        if one.partition("://")[0].lower() in HOSTS:
            try:
                host = urlsplit(one).hostname or ""
            except ValueError:
                continue  # no URL that anything can open
            if is_forbidden_host(unquote(host)):
                return host
    return ""


def _guarded(title: Title) -> Title:
    named = [("video", title.video), *(("face", face) for face in title.faces if is_picture(face))]
    for dub in title.dubs:
        named += [*(("speech", speech) for speech in dub.speeches), ("output", dub.output)]
    for what, url in named if not title.error else ():
        if host := forbidden_host(url):
            return _refused(title, f"{what} {url}: {host} {REASON}")
    return title


def _refused(title: Title, error: str) -> Title:
    return dataclasses.replace(
        title,
        dubs=tuple(Dub(dub.dub, "", "") for dub in title.dubs),
        error=f"{title.where + ': ' if title.where else ''}{error}",
    )


def _confined(title: Title, inside: Roots, outputs: Roots) -> Title:
    if title.error:
        return title
    named = [("video", title.video, inside)]
    named += [("face", face, inside) for face in title.faces if is_picture(face)]
    free = [title.options, *(dub.options for dub in title.dubs)]
    # A stage's option that is a free text may be a path: the home of its weights.
    texts = [
        (f"{s}.{o}", v)
        for options in free
        for s, values in options.items()
        for o, v in values.items()
        if isinstance(v, str)
    ]
    named += [
        (name, value, inside)
        for name, value in texts
        if "/" in value or "\\" in value or "::" in value or value.startswith("~")
    ]
    for dub in title.dubs:
        named += [*(("speech", speech, inside) for speech in dub.speeches), ("output", dub.output, outputs)]
    for what, url, roots in named:
        if not roots.allow(url):
            return _refused(title, f"{what} {url} lies outside {', '.join(roots.urls)} (--root)")
    return title
