"""Many titles with the same trouble, told once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from operators.storage.redact import redact
from pipelines.manifest.titles import Title, label

#: Lines that are printed one by one, and groups where there are more.
SHOWN = 20
#: Titles that are named beside the first of a group.
NAMED = 5
_PLACE = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|/|\.{0,2}/)?[^\s:'\"()]*/[^\s:'\"()]+|[\w-]+\.[a-z]\w{1,4}(?=[:\s])",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def reason_of(error: str) -> str:
    """An error without what differs from title to title: files and numbers."""
    text = _NUMBER.sub(
        "N", _PLACE.sub("FILE", error.strip().splitlines()[0] if error.strip() else "(no reason)")
    )
    return re.sub(r"\s+", " ", text)


def grouped(lines: Sequence[tuple[str, str]], elsewhere: str) -> list[str]:
    """Lines about titles as they are printed: each of a few, or one for each reason and the titles that share
    it.

    Args:
        lines: name of a title ("" for none), and what is said of it.
        elsewhere: where all of them are found.
    """
    if len(lines) <= SHOWN:
        return [_line(*line) for line in lines]
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, text in lines:
        groups.setdefault(reason_of(text), []).append((name, text))
    ordered = sorted(groups.values(), key=len, reverse=True)
    told = []
    for group in ordered[:SHOWN]:
        told.append(_line(*group[0]))
        if more := [name for name, _ in group[1:]]:
            rest = ", ..." if len(more) > NAMED else ""
            told.append(f"... and {len(more)} more like it: {', '.join(more[:NAMED])}{rest}")
    if left := sum(map(len, ordered[SHOWN:])):
        told.append(f"... and {left} for other reasons")
    return [*told, f"{len(lines)} in all; {elsewhere}"]


def _line(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def will_fail(titles: Sequence[Title], elsewhere: str) -> list[str]:
    """Lines on those of several titles that are known to fail, to be printed at once: the others may take all
    night.

    Args:
        titles: of a manifest.
        elsewhere: where all of the lines are found.
    """
    if len(titles) < 2:
        return []
    lines = [
        (label(title.id, dub.dub), title.error or dub.error)
        for title in titles
        for dub in title.dubs
        if title.error or dub.error
    ]
    return [f"will fail: {redact(text)}" for text in grouped(lines, elsewhere)]
