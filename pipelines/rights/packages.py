"""Packages behind this installation and the native libraries inside them, with versions and licences."""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from email.message import Message
from importlib.metadata import Distribution, PackageNotFoundError
from typing import Any, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from retalk_models.installation import DISTRIBUTION

#: Shared libraries that wheels bring beside their own code: in a folder NAME.libs, or in `lib` of a package.
_SHARED = re.compile(r"(?:^|/)[\w.]+\.(?:libs|dylibs)/|/lib/")
#: ``libx264-d6533a8d.so.165``: name, what the wheel's builder added, version.
_FILE = re.compile(
    r"(?P<name>lib[\w+.]*?|[\w+]+?)(?:-(?P<tag>[0-9a-f]{8,}))?\.(?:so|dylib|dll)(?:\.(?P<version>[\d.]+))?$"
)
#: Licences of libraries that are often inside wheels, by the beginning of their names; FFmpeg's own depends on its build.
NATIVE_LICENCES = {
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
    "libdav1d": "BSD-2-Clause",
    "libSvtAv1Enc": "BSD-3-Clause-Clear",
    "libmp3lame": "LGPL-2.0-or-later",
    "libopus": "BSD-3-Clause",
    "libvpx": "BSD-3-Clause",
    "libwebp": "BSD-3-Clause",
    "libsharpyuv": "BSD-3-Clause",
    "libopencore": "Apache-2.0",
    "libvpl": "MIT",
    "libgnutls": "LGPL-2.1-or-later",
    "libnettle": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libhogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libgmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libasound": "LGPL-2.1-or-later",
    "libdrm": "MIT",
    "libxcb": "MIT",
    "libXau": "MIT",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libquadmath": "LGPL-2.1-or-later",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libtorch": "BSD-3-Clause",
    "libc10": "BSD-3-Clause",
    "libscipy_openblas": "BSD-3-Clause",
    "libopenblas": "BSD-3-Clause",
    "libzstd": "BSD-3-Clause OR GPL-2.0-only",
    "libz": "Zlib",
    "libpng": "libpng-2.0",
    "libjpeg": "IJG AND BSD-3-Clause",
    "libtiff": "libtiff",
    "libfreetype": "FTL OR GPL-2.0-or-later",
    "libharfbuzz": "MIT",
    "liblcms2": "MIT",
    "liblzma": "0BSD",
    "libopenjp2": "BSD-2-Clause",
    "libbrotli": "MIT",
    "libavif": "BSD-2-Clause",
    "libaom": "BSD-2-Clause",
    "libbz2": "bzip2-1.0.6",
}
#: FFmpeg's libraries.
FFMPEG = (
    "libavutil",
    "libavcodec",
    "libavformat",
    "libavdevice",
    "libavfilter",
    "libswscale",
    "libswresample",
)
#: Libraries whose licence reaches over a whole build of FFmpeg.
GPL_PARTS = ("libx264", "libx265")


@dataclasses.dataclass(frozen=True)
class Package:
    """An installed distribution: name, version, licence (an SPDX expression or its own words; "" if it says none), and its
    page.
    """

    name: str
    version: str
    licence: str
    page: str


@dataclasses.dataclass(frozen=True)
class NativeLibrary:
    """A shared library inside a package: name, version as its file or build says, licence ("" if not known), SHA-256, the
    package, and what else its build says.
    """

    name: str
    version: str
    licence: str
    sha256: str
    package: str
    build: str = ""


def _metadata(distribution: Distribution) -> Message:
    return cast("Message", distribution.metadata)


def licence_of(distribution: Distribution) -> str:
    """Return the licence that a distribution's metadata states, "" for none."""
    metadata = _metadata(distribution)
    if expression := metadata.get("License-Expression"):
        return expression.strip()
    words = (metadata.get("License") or "").strip()
    if words and "\n" not in words and len(words) <= 100:
        return words
    told = [
        entry.rpartition(" :: ")[2]
        for entry in metadata.get_all("Classifier") or []
        if entry.startswith("License ::") and entry != "License :: OSI Approved"
    ]
    return " AND ".join(dict.fromkeys(told)) if told else words.partition("\n")[0][:100]


def _page(distribution: Distribution) -> str:
    metadata = _metadata(distribution)
    entries = (entry.partition(",") for entry in metadata.get_all("Project-URL") or [])
    listed = {name.strip().lower(): url.strip() for name, _, url in entries}
    page = metadata.get("Home-page") or ""
    for name in ("homepage", "home", "source", "source code", "repository", "documentation"):
        page = page or listed.get(name, "")
    return page if page.startswith(("https://", "http://")) else ""


def closure(roots: Iterable[str] = (DISTRIBUTION,)) -> list[Distribution]:
    """Installed distributions that these need, themselves included, by name; extras as they are asked for."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in done:
            continue
        done.add(key)
        try:
            distribution = importlib.metadata.distribution(wanted.name)
        except PackageNotFoundError:
            continue
        found[key[0]] = distribution
        waiting += _needed(distribution, wanted.extras)
    return [found[name] for name in sorted(found)]


def _needed(distribution: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            yield requirement


def packages(distributions: Iterable[Distribution]) -> list[Package]:
    """Names, versions and licences of distributions."""
    return [
        Package(canonicalize_name(one.metadata["Name"]), one.version, licence_of(one), _page(one))
        for one in distributions
    ]


def native_libraries(distributions: Iterable[Distribution]) -> list[NativeLibrary]:
    """Shared libraries that distributions bring beside their own code, as the lists of their files say."""
    found = []
    for distribution in distributions:
        name = canonicalize_name(distribution.metadata["Name"])
        for file in distribution.files or ():
            told = _FILE.match(file.name)
            if not told or not _SHARED.search(file.as_posix()):
                continue
            digest = ""
            if file.hash is not None and file.hash.mode == "sha256":
                digest = base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4)).hex()
            library = told["name"]
            version, licence, build = told["version"] or "", _known_licence(library), ""
            if name == "av" and library in FFMPEG:
                version, licence, build = _pyav(library, version)
            found.append(NativeLibrary(library, version, licence, digest, name, build))
    return sorted(found, key=lambda one: (one.package, one.name, one.version))


def _known_licence(library: str) -> str:
    return next((told for start, told in NATIVE_LICENCES.items() if library.startswith(start)), "")


@functools.cache
def _builds() -> dict[str, Any]:
    from av import _core

    return dict(_core.library_meta)


def _pyav(library: str, version: str) -> tuple[str, str, str]:
    """Version, licence and configuration that a library of PyAV's FFmpeg reports itself."""
    told = _builds().get(library)
    if told is None:
        return version, "", ""
    return ".".join(map(str, told["version"])), str(told["license"]), str(told["configuration"])


def ffmpeg_note(libraries: Iterable[NativeLibrary]) -> str:
    """Say which packages' FFmpeg is linked with libraries under the GPL; "" where none is."""
    parts: dict[str, set[str]] = {}
    for one in libraries:
        if one.name.startswith(GPL_PARTS):
            parts.setdefault(one.package, set()).add(one.name)
    if not parts:
        return ""
    told = ", ".join(
        f"in {package} with {' and '.join(sorted(names))}" for package, names in sorted(parts.items())
    )
    return (
        f"FFmpeg is linked with libraries under GPL-2.0-or-later, whatever licence it reports itself ({told}): whoever "
        "distributes the whole has to follow the GPL"
    )
