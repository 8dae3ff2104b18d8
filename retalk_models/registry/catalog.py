"""The catalogue of model files and of the networks that are loaded from them (`catalog.yaml`), as typed
values.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml

from retalk_models.registry.errors import WeightsError

CATALOG = Path(__file__).with_name("catalog.yaml")
#: Selections of `retalk models pull --select`.
SELECTIONS = ("retalk", "eval", "licence-clean", "all")
#: A size that a page rounds ("180 MB", of either kind of mega) may be off by this share.
ABOUT_TOLERANCE = 0.15
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def parse_size(text: str) -> int:
    """Bytes of "1.46 kB", "180 MB" or "1.53 GB"."""
    number, unit = text.split()
    return round(float(number) * UNITS[unit])


def show_size(size: int | None) -> str:
    """A size for people: "348.6 MB"; "?" for None."""
    if size is None:
        return "?"
    for unit in ("GB", "MB", "kB"):
        if size >= UNITS[unit]:
            return f"{size / UNITS[unit]:.4g} {unit}"
    return f"{size} B"


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """One model file: where it comes from, what it must be, what its licence says."""

    file: str
    #: Addresses of the file; of the archive that holds it, where ``member`` is set.
    urls: tuple[str, ...]
    licence: str
    commercial: Literal["yes", "no", "unknown"]
    groups: tuple[str, ...]
    used_by: str
    #: Exact size in bytes; None: unknown.
    size: int | None = None
    #: Size in bytes as the publisher's page rounds it; only set where ``size`` is None.
    about: int | None = None
    #: Lower-case hex digest; None: unknown, trusted on first use.
    sha256: str | None = None
    #: The digest was seen in one place or only in mirrors: a mismatch is an error that the user may accept by
    #: naming the new digest.
    seen_once: bool = False
    #: Training data of the network, "" where that is not known.
    data: str = ""
    #: Other names of the same bytes, looked for in mirrors.
    aliases: tuple[str, ...] = ()
    archive: str = ""
    member: str = ""

    @property
    def pinning(self) -> str:
        """ "pinned", "verify" or "unknown": how far the digest is known."""
        return "unknown" if self.sha256 is None else "verify" if self.seen_once else "pinned"

    def wrong_size(self, size: int) -> str:
        """Reason why a file of that many bytes cannot be this one; "" if it can."""
        if self.size is not None and size != self.size:
            return f"it has {size} bytes, not {self.size}"
        if self.about is not None and abs(size - self.about) > ABOUT_TOLERANCE * self.about:
            return f"it has {show_size(size)}, not about {show_size(self.about)}"
        return ""


@dataclasses.dataclass(frozen=True)
class Part:
    """Mapping of one file's keys to a network's; the fields are explained at the top of `catalog.yaml`."""

    file: str
    nest: tuple[str, ...] = ()
    module: Literal["leading", "everywhere"] = "leading"
    drop: tuple[str, ...] = ()
    extra: Literal["report", "ignore"] = "report"
    prefix: str = ""


@dataclasses.dataclass(frozen=True)
class Catalog:
    """All model files by name, and the parts of each network by its name."""

    files: dict[str, ModelFile]
    networks: dict[str, tuple[Part, ...]]

    def files_of(self, names: Iterable[str]) -> list[ModelFile]:
        """Model files of networks ("lnet"), files ("LNet.pth") or other names of files, each once, in the
        order asked.

        Raises:
            WeightsError: a name is none of these; the closest ones are named.
        """
        found: dict[str, ModelFile] = {}
        for name in names:
            for file in self._resolve(name):
                found.setdefault(file, self.files[file])
        return list(found.values())

    def _resolve(self, name: str) -> list[str]:
        if name in self.networks:
            return [part.file for part in self.networks[name]]
        for file, entry in self.files.items():
            if name == file or name in entry.aliases:
                return [file]
        known = [*self.networks, *self.files]
        lower = {candidate.lower(): candidate for candidate in known}
        close = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), 3, 0.5)]
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        raise WeightsError(f"no model file or network is called {name!r}: {hint}", [name])

    def select(
        self, selection: str, among: Iterable[ModelFile] | None = None
    ) -> tuple[list[ModelFile], list[ModelFile]]:
        """Files of a selection, and those that it leaves out.

        ``licence-clean`` keeps the files whose publisher's licence allows commercial use; the others are left
        out of ``among`` (default: all files). ``retalk``: what the retalk engine needs with its default
        options. ``eval``: evaluation nets.
        """
        if selection not in SELECTIONS:
            raise WeightsError(f"no selection is called {selection!r}: known are {', '.join(SELECTIONS)}")
        pool = list(self.files.values()) if among is None else list(among)
        if selection == "all":
            return pool, []
        if selection == "licence-clean":
            keep = [entry for entry in pool if entry.commercial == "yes"]
        else:
            keep = [entry for entry in pool if selection in entry.groups]
        return keep, [entry for entry in pool if entry not in keep]


def _urls(file: str, names: list[str], sources: dict[str, str]) -> tuple[str, ...]:
    """Addresses of "source" (the file under its own name there) and "source path" entries."""
    urls = []
    for name in names:
        source, _, path = name.partition(" ")
        urls.append(sources[source] + (path or file))
    return tuple(urls)


def _model_file(file: str, entry: dict[str, Any], sources: dict[str, str]) -> ModelFile:
    entry = dict(entry)
    entry["urls"] = _urls(entry.get("archive", file), entry["urls"], sources)
    entry["used_by"] = ", ".join(entry["used_by"])
    if "about" in entry:
        entry["about"] = parse_size(entry["about"])
    for key in ("groups", "aliases"):
        entry[key] = tuple(entry.get(key, ()))
    return ModelFile(file=file, **entry)


def _part(entry: dict[str, Any]) -> Part:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    return Part(**values)


@functools.lru_cache(maxsize=8)
def load_catalog(path: Path = CATALOG) -> Catalog:
    """Read a catalogue file; the package's own by default."""
    text = yaml.safe_load(path.read_text(encoding="utf-8"))
    files = {file: _model_file(file, entry, text["sources"]) for file, entry in text["files"].items()}
    networks = {name: tuple(_part(entry) for entry in parts) for name, parts in text["networks"].items()}
    unknown = [part.file for parts in networks.values() for part in parts if part.file not in files]
    assert not unknown, f"{path}: networks name files that it does not list: {unknown}"
    return Catalog(files, networks)
