"""The check that every drill ends with, and the work in progress when something died."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import pyarrow.parquet as pq

from benchmarks.drills.catalogue import Setting, digest
from pipelines.state.sidecars import with_sidecars
from tests.drills.faulty import temporary_files

OutputSegment = tuple[str, str]


@dataclass
class Calm:
    """A run that nothing disturbed: hash of each output, and the names of all segments ("analyse") and
    output segments ("write") by title.
    """

    outputs: dict[tuple[str, str], str]
    begun: dict[str, set[OutputSegment]]


@dataclass
class Flight:
    """Work in progress at the kills: begun and not committed, by stage; and the work committed by then."""

    under_way: Counter[str] = field(default_factory=Counter)
    committed: list[set[OutputSegment]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def calm_of(at: Setting) -> Calm:
    """Return the results of a calm run in this setting; the run is checked too."""
    begun: dict[str, set[OutputSegment]] = {"analyse": set(), "write": set()}
    for line in at.written():
        begun[line["stage"]].add((line["title"], line["name"]))
    return Calm({key: digest(path) for key, path in at.outputs().items() if path.exists()}, begun)


def committed(at: Setting, calm: Calm) -> set[OutputSegment]:
    """Output segments that need not be computed again: those with a receipt, and all of the dubs that are done."""
    found = {
        (path.parent.name, path.name.rsplit(".", 2)[0]) for path in (at.run / "receipts").glob("*/[!.]*.json")
    }
    for path in (at.run / "records").glob("*/[!.]*.json"):
        record = json.loads(path.read_text())
        if record["state"] == "done":
            found |= {
                (title, name)
                for title, name in calm.begun["write"]
                if title == record["title"] and name.startswith(f"{record['dub']}.")
            }
    return found


def look(at: Setting, calm: Calm, flight: Flight, before: set[OutputSegment]) -> None:
    """Record the work in progress at a kill.

    Args:
        at: the setting.
        calm: the calm run.
        flight: is added to.
        before: names committed just before the kill.
    """
    lines = at.written()
    begun = {
        stage: {(line["title"], line["name"]) for line in lines if line["stage"] == stage}
        for stage in calm.begun
    }
    left = {(title, name.split(".")[1]) for title, name in calm.begun["write"] - before}
    flight.under_way["write"] += len(begun["write"] - before)
    flight.under_way["analyse"] += len(begun["analyse"] & left)
    flight.committed.append(before)
    flight.lines.append(len(lines))


def recomputed(at: Setting) -> Counter[str]:
    """Return the number of repetitions by stage."""
    times = Counter((line["stage"], line["title"], line["name"]) for line in at.written())
    return sum((Counter({stage: count - 1}) for (stage, _, _), count in times.items()), Counter())


def check(
    at: Setting, calm: Calm | None, failed: dict[tuple[str, str], str], flight: Flight | None = None
) -> dict[str, Any]:
    """Every dub is done or failed with its reason, in the ledger once; outputs are whole, the calm run's;
    nothing else is left.

    Args:
        at: the setting.
        calm: None: this is the calm run itself.
        failed: text that each failed dub's reason must contain.
        flight: where something was killed: no more than was under way then may have been computed again.

    Returns:
        Counts for the table.
    """
    ledger = [json.loads(line) for line in (at.run / "ledger.jsonl").read_text().splitlines()]
    assert ledger == pq.read_table(at.run / "ledger.parquet").to_pylist()
    outputs = at.outputs()
    keys = [(record["title"], record["dub"]) for record in ledger]
    assert sorted(keys) == sorted(outputs), f"each dub is in the ledger, once: {set(outputs) ^ set(keys)}"
    for record in ledger:
        key = record["title"], record["dub"]
        if record["state"] == "failed":
            assert key in failed, f"{key}: {record['error']}"
            assert failed[key] in record["error"], f"{key} has failed of something else: {record['error']}"
            assert not outputs[key].exists(), f"{key} has failed and its output is there"
        else:
            assert record["state"] == "done", record
            assert key not in failed, f"{key} is done and should have failed"
            assert not record["error"], record
            whole(outputs[key], record)
            if calm is not None:
                assert digest(outputs[key]) == calm.outputs[key], (
                    f"{outputs[key]} differs from the calm run's"
                )
    there = {path for path in at.out.rglob("*") if path.is_file()}
    made = {Path(name) for name in with_sidecars(str(outputs[key]) for key in outputs if key not in failed)}
    assert there == made, f"nothing else lies beside the outputs: {sorted(there)}"
    assert not temporary_files(at.run, at.out), temporary_files(at.run, at.out)
    assert not (at.run / "lock.json").exists()
    for kind in ("segments", "receipts"):
        left = {path.parent.name for path in (at.run / kind).rglob("*") if path.is_file()}
        assert left <= {title for title, _ in failed}, f"{kind} of titles that are done: {left}"
    again = recomputed(at)
    if flight is not None:
        for stage, count in again.items():
            assert count <= flight.under_way[stage], (
                f"{stage}: {count} computed again, {flight.under_way[stage]} were under way"
            )
        for safe, line in zip(flight.committed, flight.lines):
            late = {
                (entry["title"], entry["name"]) for entry in at.written()[line:] if entry["stage"] == "write"
            }
            assert not late & safe, f"computed again though committed: {sorted(late & safe)}"
    done = sum(record["state"] == "done" for record in ledger)
    return {
        "done": done,
        "failed": len(ledger) - done,
        "again": again["write"],
        "analysed again": again["analyse"],
    }


def whole(path: Path, record: dict[str, Any]) -> None:
    """Decode an output to its end: it has the frames that its record says."""
    assert path.stat().st_size == record["size"], f"{path} has not the size of its record"
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == record["frames"], f"{path} is not whole"
