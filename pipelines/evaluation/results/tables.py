"""Tables of a sweep: scores with intervals beside published numbers, why clips fell out, and paired tests."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.evaluation.results.labels import (
    LONGEST_REASON,
    PUBLISHED,
    Column,
    column_of,
    columns_of,
    ordered,
    shortened,
    system_name,
)
from pipelines.evaluation.results.published import DATA, PUBLISHED_METRICS, TABLE_1, published_rows
from pipelines.evaluation.results.scores import FAILED, SCORED, Arm, Sweep
from pipelines.evaluation.results.statistics import Difference, Mean, compare_paired, holm, mean_of
from pipelines.monitoring.grouping import reason_of
from pipelines.review.exports import spreadsheet_safe
from pipelines.state.run_directory import parse_json

#: Clips that are named for a reason.
NAMED = 5


@dataclass(frozen=True)
class Line:
    """A row of the table of scores.

    Attributes:
        name: of the system.
        protocol: "" for published rows.
        published: it is the paper's, not of this sweep.
        attempted, scored: clips; 0 for published rows.
        means: by metric; a metric that is missing was not measured.
    """

    name: str
    protocol: str
    published: bool
    attempted: int
    scored: int
    means: dict[str, Mean]


@dataclass(frozen=True)
class Comparison:
    """A paired test of two systems.

    Attributes:
        one, other: the systems, under one protocol.
        column: the metric.
        difference: the first less the second.
    """

    one: Arm
    other: Arm
    column: Column
    difference: Difference


def score_lines(sweep: Sweep) -> list[Line]:
    """Rows of the table of scores: this sweep's, then the published ones of its data set.

    Sweeps over other data get none: their numbers are no measure of them (`published_lines`).
    """
    lines = []
    for arm in sweep.arms:
        means = {name: mean_of(sweep.values(arm, name)) for name in sweep.metrics}
        for name in {one["metric"] for one in sweep.sets}:
            value, count = sweep.set_value(arm, name)
            if math.isfinite(value):
                means[name] = Mean(value, math.nan, math.nan, count)
        attempted, scored = len(sweep.rows(arm, None)), len(sweep.rows(arm))
        lines.append(Line(system_name(sweep, arm), arm.protocol, False, attempted, scored, means))
    for system, values in published_rows(str(sweep.about.get("data", ""))).items():
        means = {metric: Mean(value, math.nan, math.nan, 0) for metric, value in values.items()}
        lines.append(Line(f"{system} ({PUBLISHED})", "", True, 0, 0, means))
    return lines


def score_rows(sweep: Sweep, lines: Sequence[Line]) -> list[list[str]]:
    """Cells of the table of scores: a heading, then a row for each line."""
    columns = _shown(sweep, lines)
    rows = [["system", "protocol", *(column.title for column in columns), "scored / attempted"]]
    for line in lines:
        cells = [_cell(column, line.means.get(column.metric)) for column in columns]
        amount = "–" if line.published else f"{line.scored} / {line.attempted}"
        rows.append([line.name, shortened(line.protocol) if line.protocol else "–", *cells, amount])
    return rows


def _shown(sweep: Sweep, lines: Sequence[Line]) -> list[Column]:
    """Columns of the table: those of the sweep, and the paper's where published rows stand below."""
    columns = columns_of(sweep)
    if any(line.published for line in lines):
        there = {column.metric for column in columns}
        columns += [column_of(name) for name in PUBLISHED_METRICS if name not in there]
    places = ordered(column.metric for column in columns)
    return sorted(columns, key=lambda column: places.index(column.metric))


def _cell(column: Column, mean: Mean | None) -> str:
    """A mean and its interval."""
    if mean is None or math.isnan(mean.value):
        return "–"
    interval = "" if math.isnan(mean.low) else f" [{column.number(mean.low)}, {column.number(mean.high)}]"
    return f"{column.number(mean.value)}{interval}"


def score_csv(sweep: Sweep, lines: Sequence[Line]) -> str:
    """The table of scores with mean, interval and number of values of a metric in columns of their own."""
    columns = _shown(sweep, lines)
    parts = ("", "_low", "_high", "_count")
    heading = ["system", "protocol", "published", "attempted", "scored"]
    heading += [f"{column.metric}{part}" for column in columns for part in parts]
    rows = [heading]
    for line in lines:
        cells = [
            spreadsheet_safe(line.name),
            line.protocol,
            str(line.published).lower(),
            str(line.attempted),
            str(line.scored),
        ]
        for column in columns:
            mean = line.means.get(column.metric)
            numbers = (mean.value, mean.low, mean.high) if mean else (math.nan,) * 3
            cells += ["" if math.isnan(number) else repr(number) for number in numbers]
            cells.append(str(mean.count) if mean and mean.count else "")
        rows.append(cells)
    return as_csv(rows)


def published_lines() -> list[list[str]]:
    """Cells of the paper's Table 1 as published: both data sets beside each other."""
    columns = [column_of(metric) for metric in PUBLISHED_METRICS]
    rows = [
        [
            f"system ({PUBLISHED})",
            *(f"{name} {column.heading} {column.arrow}" for name in DATA.values() for column in columns),
        ]
    ]
    for system, sets in TABLE_1.items():
        cells = []
        for data in DATA:
            values = sets.get(data) or (None,) * len(columns)
            cells += [column.number(value) for column, value in zip(columns, values)]
        rows.append([system, *cells])
    return rows


def fallen_out(sweep: Sweep) -> list[list[str]]:
    """Cells of the table of clips that were not scored: system, reason of the first, number, some of them.

    Reasons that differ by files and numbers only are one.
    """
    rows = [["system", "protocol", "reason (of the first)", "clips", "such as"]]
    reasons = sweep.texts("reason")
    for arm in sweep.arms:
        groups: dict[str, list[int]] = {}
        for row in sweep.rows(arm, FAILED).tolist():
            groups.setdefault(reason_of(reasons[row]), []).append(row)
        for _, members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
            named = [shortened(str(sweep.columns["pair"][row])) for row in members[:NAMED]]
            more = ", ..." if len(members) > NAMED else ""
            rows.append(
                [
                    shortened(arm.system),
                    shortened(arm.protocol),
                    shortened(reasons[members[0]] or "(no reason)", LONGEST_REASON),
                    str(len(members)),
                    ", ".join(named) + more,
                ]
            )
    return rows


def unmeasured(sweep: Sweep) -> list[list[str]]:
    """Cells of the table of metrics without a value: metric, note, number of clips."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    if "notes" in sweep.columns:
        for cell in sweep.columns["notes"][sweep.columns["state"] == SCORED]:
            for metric, note in _notes(cell):
                key = (metric, reason_of(note))
                first, number = found.get(key, (note, 0))
                found[key] = first, number + 1
    rows = [["metric", "note", "clips"]]
    rows += [[metric, note, str(number)] for (metric, _), (note, number) in sorted(found.items())]
    rows += [[one["metric"], f"{one['system']}: {one['note']}", "–"] for one in sweep.sets if one.get("note")]
    return [[shortened(metric), shortened(note, LONGEST_REASON), number] for metric, note, number in rows]


def _notes(cell: Any) -> list[tuple[str, str]]:
    """Metrics and notes of a cell: JSON, an Arrow struct or an Arrow map."""
    if isinstance(cell, str):
        read = parse_json(cell.encode())
        cell = read if isinstance(read, dict) else None
    pairs = cell.items() if isinstance(cell, dict) else cell or ()
    return [(str(metric), str(note)) for metric, note in pairs if note]


def comparisons(sweep: Sweep) -> list[Comparison]:
    """Paired tests of all systems of a protocol; p-values of a metric are corrected together."""
    found = []
    for column in columns_of(sweep):
        if column.metric not in sweep.metrics:
            continue
        arms = [arm for arm in sweep.arms if len(sweep.values(arm, column.metric))]
        pairs = [pair for pair in itertools.combinations(arms, 2) if pair[0].protocol == pair[1].protocol]
        tests = [compare_paired(*sweep.paired(column.metric, *pair)) for pair in pairs]
        for pair, test, corrected in zip(pairs, tests, holm([test.p for test in tests])):
            found.append(Comparison(*pair, column, replace(test, corrected=corrected)))
    return found


def comparison_rows(found: Sequence[Comparison]) -> list[list[str]]:
    """Cells of the table of paired tests."""
    rows = [
        ["metric", "protocol", "system", "against", "clips", "median difference", "p (Wilcoxon)", "p (Holm)"]
    ]
    for one in found:
        test = one.difference
        rows.append(
            [
                one.column.title,
                shortened(one.one.protocol),
                shortened(one.one.system),
                shortened(one.other.system),
                str(test.count),
                signed(one.column, test.median),
                probability(test.p),
                probability(test.corrected),
            ]
        )
    return rows


def comparison_csv(found: Sequence[Comparison]) -> str:
    """The table of paired tests with full precision."""
    rows = [["metric", "protocol", "system", "against", "clips", "median_difference", "p", "p_holm"]]
    for one in found:
        test = one.difference
        names = [spreadsheet_safe(system) for system in (one.one.system, one.other.system)]
        numbers = ["" if math.isnan(x) else repr(x) for x in (test.median, test.p, test.corrected)]
        rows.append([one.column.metric, one.one.protocol, *names, str(test.count), *numbers])
    return as_csv(rows)


def probability(p: float) -> str:
    """A p-value as text."""
    if math.isnan(p):
        return "–"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def signed(column: Column, value: float) -> str:
    """A difference with its sign."""
    return "–" if math.isnan(value) else f"{value:+.{column.digits}f}"


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """Rows as CSV with LF endings."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
