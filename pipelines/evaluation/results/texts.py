"""Captions and remarks of a sweep, and ``table.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from operators.storage.redact import redact
from pipelines.evaluation.results.labels import LONGEST_REASON, MADE_UP, columns_of, shortened
from pipelines.evaluation.results.markdown import as_markdown, escaped
from pipelines.evaluation.results.published import DATA
from pipelines.evaluation.results.scores import Sweep
from pipelines.evaluation.results.statistics import ROUNDS
from pipelines.evaluation.results.tables import (
    Comparison,
    comparison_rows,
    fallen_out,
    published_lines,
    unmeasured,
)

#: Parts of ``sweep.json`` that say how a sweep can be repeated, and their headings.
RECORD = {
    "command": "command",
    "data": "data",
    "lse_protocol": "LSE protocol",
    "options": "options",
    "versions": "versions",
    "digests": "model files",
    "machine": "machine",
    "started": "started",
    "finished": "finished",
}

#: How systems are compared.
TESTED = (
    "The same clips by two systems: Wilcoxon's signed-rank test, corrected for the comparisons of a metric (Holm). "
    "Differences are system less against."
)


def caption(sweep: Sweep) -> str:
    """One sentence on what the table of scores holds."""
    data = DATA.get(str(sweep.about.get("data", "")), str(sweep.about.get("data", "")) or "unnamed data")
    lse = sweep.about.get("lse_protocol")
    return f"Scores on {data}: means over clips with bootstrap 95 % intervals ({ROUNDS} resamples)." + (
        f" LSE by protocol {lse}." if lse else ""
    )


def remarks(sweep: Sweep) -> list[str]:
    """Sentences that belong below the table of scores."""
    said = []
    attempted, there = sweep.about.get("attempted"), sweep.table.num_rows
    if isinstance(attempted, int) and attempted > there:
        said.append(f"Unfinished: {there} of {attempted} attempts have been scored or have failed.")
    if any(sweep.weights(arm) == "recipe" for arm in sweep.arms):
        said.append(
            f"Rows with {MADE_UP} show that the system runs; their numbers say nothing of its quality."
        )
    if any(column.made_up for column in columns_of(sweep)):
        said.append(
            f"Columns with {MADE_UP} were measured by networks whose weights are not the published ones."
        )
    if str(sweep.about.get("data", "")) in DATA:
        said.append(
            "Published rows are the paper's (Cheng et al., 2022; Table 1 and its ablation), not measured here."
        )
    return said


def record(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts for repeating a sweep: heading and text."""
    rows = []
    for name, heading in RECORD.items():
        value = about.get(name)
        if value in (None, "", [], {}):
            continue
        if isinstance(value, list):
            text = " ".join(map(str, value))
        elif isinstance(value, Mapping):
            text = ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
        else:
            text = str(value)
        rows.append((heading, redact(text)))
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def table_text(
    sweep: Sweep, rows: Sequence[Sequence[str]], tests: Sequence[Comparison], notes: Sequence[str]
) -> str:
    """``table.md``: the scores, published numbers, who fell out and why, tests, and how to repeat it."""
    parts = ["# Scores", caption(sweep), as_markdown(rows), *remarks(sweep)]
    if str(sweep.about.get("data", "")) not in DATA:
        parts += [
            "## Published numbers",
            "VideoReTalking's Table 1 (Cheng et al., 2022), on other data than this sweep's: not comparable with the rows above.",
            as_markdown(published_lines()),
        ]
    if len(gone := fallen_out(sweep)) > 1:
        parts += ["## Not scored", as_markdown(gone)]
    if len(without := unmeasured(sweep)) > 1:
        parts += ["## Without a value", as_markdown(without)]
    if tests:
        parts += [
            "## Differences between systems",
            TESTED,
            as_markdown(comparison_rows(tests)),
        ]
    if notes:
        parts += ["## Notes", "\n".join(f"* {escaped(shortened(note, LONGEST_REASON))}" for note in notes)]
    if how := record(sweep.about):
        parts += ["## How it was made", as_markdown([("", ""), *how])]
    return "\n\n".join(parts) + "\n"
