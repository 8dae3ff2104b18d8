"""Models that come inside packages, as typed values: their licences, training data and files (`bundled.yaml`)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
from pathlib import Path

import yaml

from retalk_models.installation import DISTRIBUTION
from retalk_models.local_files import sha256_of
from retalk_models.registry.catalog import Commercial

BUNDLED = Path(__file__).with_name("bundled.yaml")
#: Folder that holds this distribution's packages.
HERE = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class BundledModel:
    """One model inside a package; the fields are explained at the top of `bundled.yaml`."""

    name: str
    package: str
    licence: str
    commercial: Commercial
    used_by: str
    data_commercial: Commercial = "unknown"
    data: str = ""
    path: str = ""

    @property
    def distribution(self) -> str:
        """Distribution that brings it."""
        return self.package or DISTRIBUTION

    def place(self) -> Path | None:
        """Its file or folder; None where it is part of a library, or its package is not installed."""
        if not self.path:
            return None
        folder = HERE
        if self.package:
            try:
                folder = Path(str(importlib.metadata.distribution(self.package).locate_file("")))
            except importlib.metadata.PackageNotFoundError:
                return None
        found = folder / self.path
        return found if found.exists() else None

    def sha256(self) -> str:
        """Digest of its file, or of the names and digests of the files in its folder; "" where it is in no file."""
        place = self.place()
        if place is None:
            return ""
        if place.is_file():
            return sha256_of(place)
        whole = hashlib.sha256()
        for path in sorted(
            path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ):
            whole.update(f"{path.relative_to(place).as_posix()}\0{sha256_of(path)}\n".encode())
        return whole.hexdigest()


@functools.cache
def bundled_models() -> dict[str, BundledModel]:
    """All of them by name."""
    entries = yaml.safe_load(BUNDLED.read_text(encoding="utf-8"))["models"]
    return {
        name: BundledModel(name, **{**entry, "used_by": ", ".join(entry["used_by"])})
        for name, entry in entries.items()
    }
