"""Consent of those who are dubbed: the column ``consent`` of a manifest's row, and that of each of its speakers."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import UsageError
from pipelines.manifest.cells import RowError
from pipelines.manifest.titles import NO_TEXT, Dub, Title, label

#: Keys of a consent, in the order in which they are shown. Each is a text.
CONSENT_KEYS = ("who", "when", "scope", "text", "url")
#: Those of which a consent needs one: they say who consented, or to what, or where that is written.
TELLING = ("who", "text", "url")
#: Characters of one entry.
LONGEST = 4096
#: Rows that a refusal names.
NAMED = 20
#: Cells that answer a question that nobody has asked.
ANSWERS = re.compile(
    r"yes|no|true|false|[yn10x?-]|ok|none|null|n/a|na|nan|tbd|todo|pending|unknown", re.IGNORECASE
)


class MissingConsentError(UsageError):
    """Rows have no consent where one is required; the message names them."""


def consent_of(value: Any) -> dict[str, str]:
    """Read a cell: free text, a URL, or a table ``{who, when, scope, text, url}`` (a mapping, or JSON as a text).

    Returns:
        The entries that are given; ``{"url": ...}`` for a URL, ``{"text": ...}`` for other texts, nothing for an
        empty cell.

    Raises:
        RowError: it is none of these, an entry is wrong, or a bare yes or no.
    """
    if isinstance(value, str):
        value = value.strip()
        if value.startswith("{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise RowError(f"consent: begins like JSON, but is none ({error})") from error
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = {"url" if _is_address(value) else "text": value}
    if not isinstance(value, Mapping):
        raise RowError(
            f"consent: must be a text, a URL or a table of {', '.join(CONSENT_KEYS)}; got {value!r}"
        )
    if unknown := [str(key) for key in value if key not in CONSENT_KEYS]:
        raise RowError(f"consent: {unknown[0]!r} is unknown; it has {', '.join(CONSENT_KEYS)}")
    # Parquet gives a struct's absent fields as None.
    given = {key: _entry(key, value[key]) for key in CONSENT_KEYS if value.get(key) not in (None, "")}
    given = {key: text for key, text in given.items() if text}
    if given and not any(key in given for key in TELLING):
        raise RowError(f"consent: needs one of {', '.join(TELLING)} beside {', '.join(given)}")
    return given


def _entry(key: str, value: Any) -> str:
    """One entry as a text."""
    if isinstance(value, (datetime.date, datetime.datetime)):
        value = value.isoformat()
    where = "consent" if key == "text" else f"consent.{key}"
    if not isinstance(value, str):
        raise RowError(f"{where}: must be a text, got {value!r}")
    text = value.strip()
    if len(text) > LONGEST:
        raise RowError(f"{where}: is longer than {LONGEST} characters; give the URL of a document")
    if NO_TEXT.search(text) or any(ord(sign) < 32 and sign not in "\t\n\r" for sign in text):
        raise RowError(f"{where}: holds what is no text")
    if key in TELLING and ANSWERS.fullmatch(text):
        raise RowError(
            f"{where}: {text!r} does not say who consented to what; say so, or give a URL where it is written"
        )
    if key == "when":
        _check_date(text)
    if key == "url" and not _is_address(text):
        raise RowError(f"{where}: {text!r} is no URL")
    return text


def _is_address(text: str) -> bool:
    scheme, colon, rest = text.partition("://")
    return bool(colon and rest and scheme.replace("+", "").isalnum()) and not any(map(str.isspace, text))


def _check_date(text: str) -> None:
    """Refuse a day or time that is not written as ISO 8601 does."""
    try:
        datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise RowError(f"consent.when: {text!r} is no date such as 2026-11-27") from None


def _named(title: Title, dub: Dub) -> str:
    """The row and the dub, each once."""
    name = label(title.id, dub.dub)
    return f"{title.where}: {name}" if title.where and title.where != name else name


def consents_in(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the consents that a record of a dub holds, entry by entry: what it is, and its text. Those of single speakers follow."""
    found = [("consent", record.get("consent"))]
    found += [
        (f"speaker {number}, consent", one.get("consent"))
        for number, one in enumerate(record.get("speakers") or (), 1)
    ]
    return [
        (f"{name}: {key}", consent[key])
        for name, consent in found
        for key in CONSENT_KEYS
        if consent and consent.get(key)
    ]


def has_consent(record: Mapping[str, Any]) -> bool:
    """True if a record of a dub holds the consent of all who are dubbed."""
    speakers = record.get("speakers") or ()
    return bool(record.get("consent")) or bool(speakers and all(one.get("consent") for one in speakers))


def _lacking(dub: Dub) -> list[str]:
    """Return whose consent a dub lacks, as the end of a sentence; an empty text stands for the one person of a dub."""
    if dub.consent:
        return []
    if not dub.speakers:
        return [""]
    return [
        f" of speaker {number} ({one.face})" for number, one in enumerate(dub.speakers, 1) if not one.consent
    ]


def check_consent(titles: Sequence[Title]) -> None:
    """Refuse titles without consent. Rows that cannot be used anyway are left out. A row's consent is one for all its speakers.

    Raises:
        MissingConsentError: naming the rows.
    """
    missing = [
        f"{_named(title, dub)} has no consent{whose}"
        for title in titles
        if not title.error
        for dub in title.dubs
        if not dub.error
        for whose in _lacking(dub)
    ]
    if missing:
        more = [f"... and {len(missing) - NAMED} more"] if len(missing) > NAMED else []
        advice = (
            "consent is required here (--require-consent, or rights.require_consent of the profile): fill the column consent "
            "(who, when, scope, and a text or URL) or that of each speaker, or --consent for all; nothing has run"
        )
        raise MissingConsentError("\n".join([*missing[:NAMED], *more, advice]))
