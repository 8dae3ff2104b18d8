"""Two sweeps side by side: their means, paired tests on the clips that both have, and what differs in how they were
made.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.storage.redact import redact
from pipelines.evaluation.results.labels import column_of, ordered, shortened
from pipelines.evaluation.results.markdown import as_markdown, escaped
from pipelines.evaluation.results.page import as_table, document
from pipelines.evaluation.results.scores import Arm, Sweep, paired
from pipelines.evaluation.results.statistics import compare_paired, holm
from pipelines.evaluation.results.tables import as_csv, probability, signed
from pipelines.review.exports import spreadsheet_safe

#: Parts of ``sweep.json`` in which two sweeps are compared; times and directories always differ.
PARTS = (
    "data",
    "protocol",
    "lse_protocol",
    "systems",
    "options",
    "versions",
    "digests",
    "metric_weights",
    "machine",
)
#: How they are compared.
TESTED = "p: the clips that both have, Wilcoxon's signed-rank test; corrected for all rows (Holm)."


@dataclass(frozen=True)
class SweepComparison:
    """Two sweeps side by side.

    Attributes:
        first, second: fsspec URLs.
        remarks: sentences on what cannot be compared.
        rows: cells of the table of means and tests, the heading first.
        differences: cells of the table of what differs in ``sweep.json``, the heading first.
        numbers: the table with full precision.
    """

    first: str
    second: str
    remarks: list[str]
    rows: list[list[str]]
    differences: list[list[str]]
    numbers: list[list[str]]

    def csv(self) -> str:
        """The table of means and tests as CSV."""
        return as_csv(self.numbers)


def compare_sweeps(first: Sweep, second: Sweep) -> SweepComparison:
    """Compare what two sweeps have in common, system by system and metric by metric."""
    heading = ["system", "protocol", "metric", "A", "B", "B - A", "clips of both", "p (Wilcoxon)", "p (Holm)"]
    names = [
        "system",
        "protocol",
        "metric",
        "a",
        "a_count",
        "b",
        "b_count",
        "difference",
        "common",
        "median",
        "p",
    ]
    rows, numbers, ps = [], [], []
    arms = [*first.arms, *(arm for arm in second.arms if arm not in first.arms)]
    for arm in arms:
        for metric in ordered({*_metrics(first), *_metrics(second)}):
            column = column_of(metric)
            a, b = _mean(first, arm, metric), _mean(second, arm, metric)
            if math.isnan(a[0]) and math.isnan(b[0]):
                continue
            test = compare_paired(*paired(second, arm, first, arm, metric))
            ps.append(test.p)
            rows.append(
                [
                    shortened(arm.system),
                    shortened(arm.protocol),
                    column.title,
                    column.number(a[0]),
                    column.number(b[0]),
                    signed(column, b[0] - a[0]),
                    str(test.count),
                    probability(test.p),
                ]
            )
            full = [a[0], a[1], b[0], b[1], b[0] - a[0], test.count, test.median, test.p]
            cells = ["" if isinstance(one, float) and math.isnan(one) else repr(one) for one in full]
            numbers.append([spreadsheet_safe(arm.system), arm.protocol, metric, *cells])
    rows = [[*row, probability(p)] for row, p in zip(rows, holm(ps))]
    return SweepComparison(
        first.directory,
        second.directory,
        _remarks(first, second),
        [heading, *rows],
        [["", "A", "B"], *differences(first.about, second.about)],
        [names, *numbers],
    )


def _remarks(first: Sweep, second: Sweep) -> list[str]:
    said = []
    one, other = (sweep.about.get("lse_protocol") for sweep in (first, second))
    if one and other and one != other:
        said.append(f"LSE by protocol {shortened(str(one))} and {shortened(str(other))}: not comparable.")
    one, other = (sweep.about.get("data") for sweep in (first, second))
    if one != other:
        said.append(f"Data {shortened(str(one))} and {shortened(str(other))}: means are of different clips.")
    return said


def _metrics(sweep: Sweep) -> set[str]:
    return {*sweep.metrics, *(one["metric"] for one in sweep.sets)}


def _mean(sweep: Sweep, arm: Arm, metric: str) -> tuple[float, int]:
    """Mean and number of values; of a set's metric its value."""
    if metric not in sweep.metrics:
        return sweep.set_value(arm, metric)
    values = sweep.values(arm, metric)
    return (float(values.mean()), len(values)) if len(values) else (math.nan, 0)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[list[str]]:
    """Rows on what differs between two ``sweep.json``: name, first, second."""
    rows = []
    for part in PARTS:
        left, right = one.get(part), other.get(part)
        if isinstance(left, Mapping) or isinstance(right, Mapping):
            left, right = left or {}, right or {}
            keys = dict.fromkeys([*left, *right])
            rows += [
                [f"{part}: {redact(str(key))}", _plain(left.get(key)), _plain(right.get(key))]
                for key in keys
                if left.get(key) != right.get(key)
            ]
        elif left != right:
            rows.append([part, _plain(left), _plain(right)])
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    return redact(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def comparison_text(found: SweepComparison) -> str:
    """The comparison as Markdown."""
    parts = [
        f"A: {escaped(redact(found.first))}  \nB: {escaped(redact(found.second))}",
        as_markdown(found.rows)
        if len(found.rows) > 1
        else "They have no scores of the same system and metric.",
        *map(escaped, found.remarks),
        TESTED,
    ]
    if len(found.differences) > 1:
        parts += ["Made in different ways:", as_markdown(found.differences)]
    return "\n\n".join(parts) + "\n"


def comparison_page(found: SweepComparison) -> str:
    """The comparison as one HTML file."""
    body = [f"<p>A: {html.escape(redact(found.first))}<br>B: {html.escape(redact(found.second))}</p>"]
    body += [as_table(found.rows), *(f"<p>{html.escape(text)}</p>" for text in (*found.remarks, TESTED))]
    if len(found.differences) > 1:
        body += ["<h2>Made in different ways</h2>", as_table(found.differences)]
    return document("Two sweeps", body)
