"""The user's own model files, named one by one in the place of a home."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from retalk_models.registry.catalog import Catalog
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.home import is_remote, local_path

#: Ends of the names of model files that can be given alone.
SAFETENSORS = ".safetensors"
ENDS = (".pt", ".pth", SAFETENSORS)


def own_files(weights: str, catalog: Catalog) -> dict[str, Path]:
    """Return the files of an option ``weights`` by their names in the catalogue; none where it names a home.

    Args:
        weights: a home, or paths of files, separated by commas.
        catalog: says which file is of which network: by its name alone, whose end may be .safetensors.

    Raises:
        WeightsError: there is no such file, no model file is called so, or it is no file of this machine.
    """
    texts = [text.strip() for text in weights.split(",")]
    if not all(text.endswith(ENDS) for text in texts) or local_path(weights).is_dir():
        return {}
    stems = {Path(file).stem: file for file in catalog.files if file.endswith(ENDS)}
    found = {}
    for text in texts:
        if is_remote(text):
            raise WeightsError(
                f"{text}: must be a file of this machine, or a folder that has it in models/", [text]
            )
        path = local_path(text)
        name = stems.get(path.stem, "") if path.suffix == SAFETENSORS else path.name
        if name not in catalog.files:
            raise WeightsError(
                f"{text}: its name says which network it is for: call it like the file that it replaces (DNet.pt, LNet.pth, ENet.pth)",
                [path.name],
            )
        if not path.is_file():
            raise WeightsError(f"{path}: no such file", [path.name])
        found[name] = path
    return found


def unpinned(catalog: Catalog, names: Collection[str]) -> Catalog:
    """Return a catalogue that holds these files to no digest or size."""
    files = {
        name: dataclasses.replace(entry, sha256=None, size=None, about=None) if name in names else entry
        for name, entry in catalog.files.items()
    }
    return Catalog(files, catalog.networks, catalog.unusable)
