"""Dubs that the newest manifest of a run directory lists; records of others stay, but do not count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from operators.storage.files import join
from pipelines.manifest.titles import Title
from pipelines.state.run_directory import Record, read_json, write_text

FILE = "titles.json"


def write_listed(url: str, titles: Iterable[Title]) -> None:
    """Write down the dubs of a manifest in the run directory."""
    listed = {title.id: [dub.dub for dub in title.dubs] for title in titles}
    write_text(join(url, FILE), json.dumps(listed))


def split_listed(url: str, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Part the records of a run directory.

    Returns:
        Those that the newest manifest lists (all of them where nothing is written down), and the others.
    """
    listed = read_json(join(url, FILE))
    if not isinstance(listed, dict):
        return list(records), []
    kept = [record for record in records if record["dub"] in listed.get(record["title"], ())]
    return kept, [record for record in records if record["dub"] not in listed.get(record["title"], ())]


def pending(url: str, records: Iterable[Record]) -> list[tuple[str, str]]:
    """Dubs (title, dub) that the newest manifest lists and that have not ended yet, in its order."""
    listed = read_json(join(url, FILE))
    if not isinstance(listed, dict):
        return []
    ended = {(record["title"], record["dub"]) for record in records}
    return [(title, dub) for title, dubs in listed.items() for dub in dubs if (title, dub) not in ended]
