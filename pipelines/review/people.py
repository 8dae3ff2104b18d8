"""People who were dubbed in a dub, with their speech and when: for the review page and the CSV of `retalk report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from operators.storage.redact import redact
from pipelines.state.run_directory import Record

#: Stretches of one person that a page holds at most.
SPANS = 200


def people_of(record: Record, trace: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return who was asked for or dubbed in a dub.

    Args:
        record: of the dub.
        trace: of it; None: there is none, and it is not known when.

    Returns:
        ``name``, ``speech``, ``seconds`` (None: not measured), ``share`` of the dub's length, ``spans`` ``[start, end]`` in seconds and
        the number of those that are left out, ``more``. Last, with an empty speech, how long nobody was dubbed, where that is known.
    """
    known = [one for one in (trace or {}).get("people", ()) if "name" in one]
    if not known:
        return [
            {**_shown(one["face"], one["speech"]), "seconds": None, "share": None}
            for one in record.get("speakers") or ()
        ]
    length = float(record["video_seconds"] or 0)
    found = [_timed(_shown(one["name"], one["speech"]), one["dubbed"], length) for one in known]
    return [*found, _timed(_shown("nobody", ""), _rest([one["dubbed"] for one in known], length), length)]


def people_text(record: Record) -> str:
    """Return the seconds of all who were dubbed as one text, as far as they were measured."""
    people = record.get("people") or ()
    return "; ".join(f"{redact(str(one['name']))} {one['seconds']:.1f} s" for one in people)


def _shown(name: str, speech: str) -> dict[str, Any]:
    return {"name": redact(name), "speech": redact(speech), "spans": [], "more": 0}


def _timed(person: dict[str, Any], spans: Sequence[Sequence[float]], length: float) -> dict[str, Any]:
    """A person with their stretches and what these add up to."""
    seconds = sum(end - start for start, end in spans)
    return {
        **person,
        "seconds": round(seconds, 3),
        "share": round(min(1.0, seconds / length), 4) if length else None,
        "spans": [list(span) for span in spans[:SPANS]],
        "more": max(0, len(spans) - SPANS),
    }


def _rest(dubbed: Sequence[Sequence[Sequence[float]]], length: float) -> list[list[float]]:
    """Stretches of a dub in which nobody is dubbed."""
    found, at = [], 0.0
    for start, end in sorted((span[0], span[1]) for spans in dubbed for span in spans):
        if start - at > 1e-3:
            found.append([round(at, 3), start])
        at = max(at, end)
    if length - at > 1e-3:
        found.append([round(at, 3), length])
    return found
