"""Licence texts beside model files whose licence asks for that."""

from __future__ import annotations

from pathlib import Path

from retalk_models.registry.catalog import LICENCES, ModelFile
from retalk_models.registry.home import write_atomically


def licence_path(path: Path) -> Path:
    """Path of the licence text beside a model file."""
    return path.with_name(f"{path.name}.licence.txt")


def write_licence(entry: ModelFile, path: Path) -> None:
    """Write notice and licence text beside a model file; nothing where its entry names no text."""
    if not entry.licence_text:
        return
    text = (LICENCES / entry.licence_text).read_text(encoding="utf-8")
    notice = f"{entry.file}\n{entry.notice.strip()}\n\n" if entry.notice else ""
    write_atomically(licence_path(path), f"{notice}{text}".encode())
