"""Scores of a sweep: a JSON file for each pair and system as soon as it is scored, and one table of all of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from operators.evaluation.metric import NO_VALUE, noted
from operators.storage.files import filesystem, join
from operators.storage.redact import redact
from pipelines.evaluation.measures import COVARIATES, FID, FRAMES, SILENT, Measures
from pipelines.evaluation.pairs import Pair
from pipelines.evaluation.systems import SOURCE, System, Weights
from pipelines.state.run_directory import Record, parse_json, read_json, slug, write_table, write_text

#: Columns of the table that are neither metrics nor covariates, with their types.
ABOUT = {
    **dict.fromkeys(("pair", "system", "protocol", "audio", "video", "output"), pa.string()),
    "seed": pa.int64(),
    **dict.fromkeys(("state", "reason"), pa.string()),
    **dict.fromkeys(("seconds", "cost_seconds"), pa.float64()),
    **dict.fromkeys(("weights", "notes"), pa.string()),
}
SCORED, FAILED = "scored", "failed"
#: Metrics that hold a result against its source, frame by frame: the source is the truth itself.
AGAINST_SOURCE = ("psnr", "ssim", "lpips", "lmd")
Score = dict[str, Any]


def score_url(directory: str, system: System, protocol: str, pair: Pair) -> str:
    """File of a pair's score."""
    drawn = f".seed{pair.seed}" if pair.seed else ""
    return join(directory, "scores", f"{system.folder}.{protocol}.{slug(pair.id)}{drawn}.json")


def measured_in(record: Record) -> tuple[dict[str, float], dict[str, str]]:
    """Values of a record's metrics by name, and reasons why others have none."""
    values = {
        entry["name"]: float(entry["value"])
        for entry in record.get("metrics") or []
        if entry.get("value") is not None and math.isfinite(entry["value"])
    }
    reasons = dict(noted(note) for note in record.get("notes") or [])
    return values, {name: reason for name, reason in reasons.items() if name}


def lacking(record: Record, names: Iterable[str]) -> list[str]:
    """Metrics that were not measured when a dub was made: not asked for then, or without their model files, which are here now.

    Args:
        record: of a dub that is done.
        names: metrics and covariates that can be measured now (`Measures.measurable`).
    """
    values, reasons = measured_in(record)
    found = []
    for name in names:
        entry = FRAMES if name == FID else name
        reason = reasons.get(entry, "")
        if entry not in values and (not reason or reason.startswith("WeightsError")):
            found.append(name)
    return found


def score_of(
    pair: Pair,
    system: System,
    measures: Measures,
    record: Record,
    weights: Weights,
    more: Record | None = None,
    missing: Mapping[str, str] | None = None,
) -> Score:
    """A pair's score from its record in the ledger.

    Args:
        pair: that was dubbed.
        system: that dubbed it.
        measures: what was asked for.
        record: of the dub, or of the measurement of a video that was there.
        weights: where the system's model files come from.
        more: record of what was measured afterwards.
        missing: `Measures.missing`: why metrics have no value whatever the record says.
    """
    values, reasons = measured_in(record)
    if more is not None:
        later, why = measured_in(more)
        values |= later
        reasons |= why
    done = record["state"] == "done"
    metrics = {name: values.get(name) for name in measures.columns}
    notes = {}
    for name, value in metrics.items():
        if value is None and done:
            notes[name] = _why(name, system, reasons, missing or {})
    return {
        "pair": pair.id,
        "system": system.name,
        "protocol": measures.protocol,
        "audio": redact(pair.audio),
        "video": redact(pair.video),
        "output": redact(record["output"]) if done else None,
        "seed": pair.seed,
        "state": SCORED if done else FAILED,
        "reason": None if done else record["error"],
        "seconds": record["video_seconds"],
        "cost_seconds": record["seconds"] if system.engine is not None and done else None,
        "weights": weights,
        "metrics": metrics,
        "notes": notes,
        "covariates": {name: values.get(name) for name in COVARIATES},
    }


def _why(name: str, system: System, reasons: Mapping[str, str], missing: Mapping[str, str]) -> str:
    """Return the reason why a metric has no value."""
    if name in missing:
        return missing[name]
    if reasons.get(name, NO_VALUE) != NO_VALUE:
        return reasons[name]
    if system.name == SOURCE and name in AGAINST_SOURCE:
        return "the source is the truth itself"
    return SILENT.get(name, NO_VALUE)


def write_score(directory: str, system: System, pair: Pair, score: Score) -> None:
    """Write a score whole, unless it stands there already."""
    url = score_url(directory, system, str(score["protocol"]), pair)
    if read_json(url) != score:
        write_text(url, json.dumps(score, ensure_ascii=False))


def read_scores(directory: str) -> Iterator[Score]:
    """Yield all scores of a sweep, by the names of their files; damaged ones are passed over."""
    fs, folder = filesystem(join(directory, "scores"))
    if not fs.isdir(folder):
        return
    names = sorted(path for path in fs.ls(folder, detail=False) if path.endswith(".json"))
    for path in names:
        if path.rsplit("/", 1)[-1].startswith("."):
            continue
        score = parse_json(fs.cat_file(path))
        if isinstance(score, dict) and isinstance(score.get("metrics"), dict):
            yield score


def write_scores(directory: str) -> pa.Table:
    """Write ``scores.parquet`` and ``scores.csv``, a row for each score; returns the table."""
    columns: dict[str, list[Any]] = {name: [] for name in ABOUT}
    numbers: dict[str, list[float | None]] = {}
    for count, score in enumerate(read_scores(directory)):
        for name in ABOUT:
            value = score.get(name)
            columns[name].append(json.dumps(value, ensure_ascii=False) if name == "notes" else value)
        for name, value in {**score["metrics"], **score.get("covariates", {})}.items():
            numbers.setdefault(name, [None] * count).append(value)
        for held in numbers.values():
            held.extend([None] * (count + 1 - len(held)))
    covariates = [name for name in numbers if name in COVARIATES]
    ordered = [name for name in numbers if name not in COVARIATES] + covariates
    arrays = [pa.array(columns[name], kind) for name, kind in ABOUT.items()]
    arrays += [pa.array(numbers[name], pa.float64()) for name in ordered]
    table = pa.table(arrays, names=[*ABOUT, *ordered])
    write_table(join(directory, "scores.parquet"), table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=1000):
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    write_text(join(directory, "scores.csv"), text.getvalue())
    return table
