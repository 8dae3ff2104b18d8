"""`retalk models list`: the catalogue with what is here."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap

from pipelines.monitoring.terminal import table
from retalk_models.registry.catalog import Catalog, ModelFile, show_size
from retalk_models.registry.registry import Registry


def markdown(catalog: Catalog) -> str:
    """The catalogue as the table of docs/models.md."""
    rows = [
        ("file", "size", "SHA-256", "licence", "commercial use", "trained on (commercial use)", "used by"),
        ("---",) * 7,
    ]
    for entry in catalog.files.values():
        digest = {"pinned": "pinned", "verify": "pinned, seen once", "unknown": "trust on first use"}[
            entry.pinning
        ]
        size = show_size(entry.size or entry.about)
        rows.append(
            (
                f"`{entry.file}`",
                size,
                digest,
                entry.licence,
                entry.commercial,
                f"{entry.data or 'not known'} ({entry.data_commercial})",
                f"{entry.used_by}{brought_by(entry)}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def brought_by(entry: ModelFile) -> str:
    """Name the distribution that brings an entry, "" for this one."""
    return f"; brought by {entry.distribution}" if entry.distribution else ""


def presence(registry: Registry, entry: ModelFile) -> str:
    """Return the state of a file in a word or two, such as "here"."""
    if registry.is_local(entry):
        return "yes"
    if registry.path(entry.file).is_file():
        return "wrong size"
    if registry.is_in_remote_home(entry):
        return "remote"
    done = max(
        (part.stat().st_size for part in (registry.directory / ".partial").glob(f"{entry.file}.*.part")),
        default=0,
    )
    return f"partly, {show_size(done)}" if done else "no"


def run_list(args: argparse.Namespace) -> int:
    """`retalk models list`."""
    registry = Registry(lock=args.lock)
    entries = list(registry.catalog.files.values())
    if args.format == "markdown":
        print(markdown(registry.catalog), end="")
        return 0
    if args.format == "json":
        keys = (
            "file",
            "size",
            "about",
            "sha256",
            "licence",
            "commercial",
            "data",
            "data_commercial",
            "used_by",
            "groups",
            "urls",
            "distribution",
        )
        value = [
            {key: getattr(entry, key) for key in keys} | {"present": presence(registry, entry)}
            for entry in entries
        ]
        print(json.dumps({"directory": registry.remote or str(registry.directory), "files": value}, indent=2))
        return 0
    rows = [("file", "size", "here", "commercial use")]
    for entry in entries:
        rows.append(
            (entry.file, show_size(entry.size or entry.about), presence(registry, entry), entry.commercial)
        )
    heading, *lines = table(rows)
    print(f"{registry.remote or registry.directory}\n\n{heading}")
    for entry, line in zip(entries, lines, strict=True):
        print(f"{line}\n{_about(entry)}")
    return 0


def _about(entry: ModelFile) -> str:
    """Use and licence of a file, indented and wrapped."""
    width = min(100, max(60, shutil.get_terminal_size((100, 24)).columns))
    text = f"{entry.used_by}; licence: {entry.licence}{brought_by(entry)}"
    return textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
