"""Input and result of a check of `retalk verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: ``trusted``: signed by somebody who is trusted, unchanged since. ``untrusted``: the same, by an unknown signer. ``tampered``: changed
#: after it was signed. ``invalid``: signed, but not validly (an expired certificate, for one). ``unreadable``: a manifest that cannot
#: be read. ``found``: a mark without a signature was recognised. ``none``: nothing there. ``skipped``: the check could not be made.
#: ``empty``: the file has no bytes.
FindingState = Literal[
    "trusted", "untrusted", "tampered", "invalid", "unreadable", "found", "none", "skipped", "empty"
]


@dataclass(frozen=True)
class Trust:
    """Whom to trust.

    Attributes:
        anchors: PEM certificates of trusted roots, one after the other.
        remote: a manifest that a file only refers to may be fetched.
        mark_key: of the watermarks to look for, as `pipelines.provenance.watermarks.read_key` takes it.
    """

    anchors: str = ""
    remote: bool = False
    mark_key: str = ""


@dataclass(frozen=True)
class Subject:
    """A file to check.

    Attributes:
        url: as the user named it.
        path: of the file, or of a copy of it, on this machine.
        trust: whom to trust.
    """

    url: str
    path: Path
    trust: Trust


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        check: its name, such as ``c2pa``.
        state: in one word.
        text: in a sentence without the file's name.
        ids: by which the dub may be found in a ledger.
        details: plain JSON.
    """

    check: str
    state: FindingState
    text: str
    ids: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def printable(value: object, most: int = 200) -> str:
    """A text from a stranger's file as one line that a terminal may show."""
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= most else f"{text[: most - 1]}…"
