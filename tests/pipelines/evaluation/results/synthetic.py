"""Scores as a sweep writes them, made of plain rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.evaluation.results.scores import Sweep, read_sweep

#: Names that mean something to HTML, Markdown, LaTeX, matplotlib or a terminal.
HOSTILE = (
    "<script>alert(1)</script>",
    "a|b & 50 % $x_1$ \\emph{#}",
    "[1ex] *bold* _soft_ `code` ~x^2",
    "[link](javascript:alert(1))",
    "two\nlines\x1b[31m",
    "x" * 10_000,
    "日本 رتبة 😀",
    "",
)
PLAIN: dict[str, Any] = {
    "protocol": "cross",
    "audio": "a.wav",
    "video": "v.mp4",
    "output": None,
    "seed": 0,
    "state": "scored",
    "reason": None,
    "seconds": 4.0,
    "cost_seconds": 8.0,
    "weights": "none",
    "notes": "{}",
    "yaw_degrees": None,
    "loudness_lufs": None,
    "face_height": None,
    "lse_offset": None,
}


def row(pair: str, system: str, **values: Any) -> dict[str, Any]:
    """One scored clip; ``values`` are metrics and columns that differ from `PLAIN`."""
    return {"pair": pair, "system": system, **PLAIN, **values}


def write_scores(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    sets: Sequence[Mapping[str, Any]] = (),
    **about: Any,
) -> Path:
    """Write ``scores.parquet``, ``sets.json`` and ``sweep.json`` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for one in rows for name in one)) or ["pair", "system", "state"]
    table = pa.table({name: [one.get(name) for one in rows] for name in names})
    pq.write_table(table, folder / "scores.parquet")
    (folder / "sets.json").write_text(json.dumps(list(sets)))
    known = {"name": "night", "data": "pairs", "attempted": len(rows), "lse_protocol": "tracked"}
    (folder / "sweep.json").write_text(json.dumps({**known, **about}))
    return folder


def sweep_of(
    folder: Path, rows: Sequence[Mapping[str, Any]], sets: Sequence[Mapping[str, Any]] = (), **about: Any
) -> Sweep:
    """The same, read."""
    return read_sweep(str(write_scores(folder, rows, sets, **about)))
