"""Which model files the engine's options need, and where they lie. Imports no torch: the preflight asks before anything is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from retalk_models.registry import Registry
from retalk_models.registry_catalog import Catalog, load_catalog

#: What networks compute in. auto: float32 until something else has been measured on the device (`retalk_models.forms.fastest`).
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Restoration = Literal["gfpgan-1.3", "gfpgan-1.4", "gpen", "none"]
#: Network that a restoration option stands for, and its file in the catalogue.
RESTORATIONS = {
    "gfpgan-1.3": ("gfpgan", "GFPGANv1.3.pth"),
    "gfpgan-1.4": ("gfpgan", "GFPGANv1.4.pth"),
    "gpen": ("gpen", "GPEN-BFR-512.pth"),
}


def restoration_files(*chosen: Restoration) -> tuple[str, ...]:
    """Model files of restoration options."""
    return tuple(RESTORATIONS[name][1] for name in chosen if name != "none")


def home_registry(weights: str = "") -> Registry:
    """The registry of the official files (``""``), or of another home laid out like RETALK_HOME (files in its ``models``).

    In another home lie files of the user's own, fine-tuned ones for instance: they are recognised by their names and held to no digest or
    size of the official ones. Whatever they hold must fit the networks key by key all the same.
    """
    if not weights:
        return Registry()
    catalog = load_catalog()
    files = {name: dataclasses.replace(entry, sha256=None, size=None, about=None) for name, entry in catalog.files.items()}
    return Registry(weights, Catalog(files, catalog.networks))


def check_files(names: Iterable[str], weights: str = "") -> None:
    """Nothing, if all model files of these networks or files are there. Reads no bytes of them.

    Raises:
        WeightsError: one error that names all that are missing and the command that brings them.
    """
    registry = home_registry(weights)
    if absent := registry.missing(names):
        registry.require(absent)
