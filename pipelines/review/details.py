"""Details of one dub for the review page, as plain data for its scripts."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from operators.storage.files import local_path
from operators.storage.redact import redact
from pipelines.manifest.consent import consents_in
from pipelines.review.verdict import Reason, Verdict
from pipelines.state.changes import changes
from pipelines.state.ledger import PROVENANCE
from pipelines.state.run_directory import Record

#: Points of a curve, and shots, that a page holds at most.
POINTS, SHOTS = 1200, 400
#: Predictor of landmarks that comes with a package; by the catalogue's name.
LANDMARKS = "shape_predictor_68_face_landmarks.dat"
#: Fields of a record that are shown as they are.
PLAIN = (
    "title",
    "dub",
    "state",
    "error",
    "language",
    "engine",
    "frames",
    "video_seconds",
    "seconds",
    "finished",
)


def detail(
    folder: str,
    record: Record,
    verdict: Verdict,
    reasons: Sequence[Reason],
    *,
    money: str = "",
    strips: Sequence[Mapping[str, Any]] = (),
    previews: Mapping[str, str] | None = None,
    earlier: Record | None = None,
    notes: Sequence[str] = (),
    people: Sequence[Mapping[str, Any]] = (),
    traced: bool = False,
) -> dict[str, Any]:
    """Return what is shown of a dub.

    Args:
        folder: fsspec URL of the page's folder.
        record: of the dub.
        verdict, reasons: on it.
        money: its share of what the run has cost, in words.
        strips: close-ups, see `pipelines.review.strips`.
        previews: of videos, by their URL: paths from the folder on.
        earlier: record of its earlier version, see `pipelines.state.earlier`.
        notes: of the report, beside the record's own.
        people: who was dubbed, see `pipelines.review.people.people_of`.
        traced: its curves are among the page's data.
    """
    done, previews = record["state"] == "done", previews or {}
    return {
        **{name: record[name] if record[name] is not None else "" for name in PLAIN},
        **{kind: redact(record[kind]) for kind in ("video", "output")},
        "speech": _heard(record),
        "verdict": verdict,
        "reasons": [{"text": redact(reason.text), "at": reason.at} for reason in reasons],
        "notes": [*(redact(note) for note in record["notes"] or []), *notes],
        "metrics": list(record.get("metrics") or []),
        "media": {kind: address(folder, record[kind]) if done else "" for kind in ("video", "output")},
        "previews": {
            kind: previews[record[kind]] for kind in ("video", "output") if done and record[kind] in previews
        },
        "strips": list(strips),
        "people": list(people),
        "money": money,
        "options": options_of(record),
        "models": models_of(record),
        "provenance": marks_of(record),
        "earlier": _earlier(folder, record, earlier),
        "traced": traced,
    }


def _heard(record: Record) -> str:
    """Sound of a dub: its speech, the mix of its speakers, or the sum of what they say."""
    stems, speech = [one["speech"] for one in record.get("speakers") or ()], redact(record["speech"])
    if not stems:
        return speech
    return "what the speakers say, together" if record["speech"] == stems[0] else f"{speech}, the mix"


def _earlier(folder: str, record: Record, earlier: Record | None) -> dict[str, Any] | None:
    if earlier is None or record["state"] != "done":
        return None
    now = record.get("ingredients")
    return {
        "media": address(folder, earlier["kept"]),
        "finished": earlier.get("finished") or "",
        "metrics": list(earlier.get("metrics") or []),
        "changes": [
            redact(text)
            for text in (changes(earlier, now) if isinstance(now, dict) else {}).values()
            if now != earlier.get("ingredients")
        ],
    }


def options_of(record: Record) -> list[list[str]]:
    """Options of the stages that made a dub, and those of its assembly: name and value."""
    made_of = record.get("ingredients")
    if not isinstance(made_of, dict):
        return []
    found = [
        [name, str(made_of[name])]
        for name in ("face", "length", "audio", "loudness", "place")
        if made_of.get(name) and not isinstance(made_of[name], list)
    ]
    found += [
        [name, ", ".join(f"{start}-{end}" for start, end in made_of[name])]
        for name in ("ranges", "exclude")
        if made_of.get(name)
    ]
    for stage, values in (made_of.get("options") or {}).items():
        unlabelled = not values.get("label")
        found += [
            [f"{stage}.{name}", str(value)]
            for name, value in values.items()
            if value not in ("", None) and not (unlabelled and name.startswith("label_"))
        ]
    return [[name, redact(value)[:200]] for name, value in found]


def marks_of(record: Record) -> list[list[str]]:
    """Signature, watermark, speakers and consent of a dub: name and value."""
    found = [[name.replace("_", " "), str(record[name])] for name in PROVENANCE if record.get(name)]
    marks = (
        ("watermark_id", "watermark's id"),
        ("watermark", "watermark in the picture"),
        ("watermark_speech", "watermark in the speech, strength"),
        ("watermark_picture", "watermark in the picture, strength"),
    )
    found += [[text, str(record[name])] for name, text in marks if record.get(name) is not None]
    for number, one in enumerate(record.get("speakers") or (), 1):
        found.append([f"speaker {number}", f"{one['face']}: {one['speech']}"])
    found += [list(one) for one in consents_in(record)]
    return [[name, redact(value)[:200]] for name, value in found]


def models_of(record: Record) -> list[list[str]]:
    """Model files behind a dub and their licences."""
    made_of = record.get("ingredients")
    weights = made_of.get("weights") if isinstance(made_of, dict) else None
    files = sorted({file for listed in (weights or {}).values() for file in listed})
    detect = (made_of.get("options") or {}).get("detect") if isinstance(made_of, dict) else None
    if isinstance(detect, dict) and detect.get("backend") in ("auto", "dlib"):
        files.append(LANDMARKS)
    if not files:
        return []
    from retalk_models.registry.catalog import load_catalog

    known = load_catalog().files
    return [[file, str(getattr(known.get(file), "licence", "") or "unknown")] for file in files]


def curves(trace: Mapping[str, Any]) -> dict[str, Any]:
    """A trace with as many points as a page has room for: of loudness and openings the largest of each stretch."""
    count = len(trace["loudness"])
    step = -(-count // POINTS) if count else 1
    return {
        "rate": trace["rate"] / step,
        "start": trace["start"],
        "loudness": _reduced(trace["loudness"], step),
        "opening": {kind: _reduced(values, step) for kind, values in trace["opening"].items()},
        "shots": list(trace["shots"])[:SHOTS],
        "more": max(0, len(trace["shots"]) - SHOTS),
        "people": [str(one.get("name", "")) for one in trace.get("people", ())],
        "kept": kept(trace["shots"]),
    }


def kept(shots: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return why stretches of a dub keep their own mouth: reason, number of stretches, seconds; the longest first."""
    found: dict[str, list[float]] = {}
    for shot in shots:
        whole = [shot] if shot["state"] != "dubbed" else []
        for part in shot["passed"] or whole:
            stretches = found.setdefault(part["reason"] or "no reason is known", [])
            stretches.append(part["end"] - part["start"])
    listed = [[reason, len(each), round(sum(each), 3)] for reason, each in found.items()]
    return sorted(listed, key=lambda one: (-one[2], one[0]))


def _reduced(values: Sequence[float | None], step: int) -> list[float | None]:
    if step == 1:
        return list(values)
    padded = np.full(-(-len(values) // step) * step, np.nan)
    padded[: len(values)] = [np.nan if value is None else value for value in values]
    largest = np.fmax.reduce(padded.reshape(-1, step), axis=1)
    return [None if np.isnan(value) else round(float(value), 3) for value in largest]


def moved(run_dir: str, record: Record) -> Record:
    """A record whose output is looked for in the run directory where it is not in its place any more: a directory that was
    moved has its outputs with it.
    """
    folder, output = local_path(run_dir), local_path(str(record["output"] or ""))
    if record["state"] != "done" or folder is None or output is None or output.exists():
        return record
    parts = output.parts[1:]
    for count in range(len(parts), 0, -1):
        if (place := folder.joinpath(*parts[-count:])).is_file():
            return {**record, "output": str(place)}
    return record


def address(folder: str, url: str) -> str:
    """Return where a browser finds a file from the page: a path from the page's folder for files of this machine or of the
    same bucket, web addresses as they are, "" for others.
    """
    if "://" not in folder and "://" not in url:
        return urllib.parse.quote(os.path.relpath(Path(url).absolute(), Path(folder).absolute()))
    if url.startswith(("https://", "http://")):
        return redact(url)
    protocol, _, rest = url.partition("://")
    own, _, place = folder.partition("://")
    if protocol == own and rest.partition("/")[0] == place.partition("/")[0]:
        return urllib.parse.quote(os.path.relpath(f"/{rest}", f"/{place}"))
    return ""
