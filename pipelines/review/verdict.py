"""Verdicts on finished dubs: `ok`, `review` with reasons and times, or `failed`.

A verdict is made of a record alone, by thresholds on its metrics. A metric that was not measured says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["ok", "review", "failed"]


@dataclass(frozen=True)
class Reason:
    """Reason to look at a dub: in words, and its place in the output in seconds (None: everywhere)."""

    text: str
    at: float | None


@dataclass(frozen=True)
class Threshold:
    """A metric beyond a value asks for a look.

    Attributes:
        metric: its name.
        limit: the last value that is not remarkable: the largest of metrics that are better lower, else the smallest.
        worst: compare the worst shot in place of the mean.
        text: the reason, with ``{value}`` in it.
        scale: of the value in the text.
    """

    metric: str
    limit: float
    worst: bool
    text: str
    scale: float = 1.0


#: docs/review.md#verdicts says how they were chosen.
THRESHOLDS = (
    Threshold("dubbed", 0.01, False, "no frame was dubbed"),
    Threshold("dubbed", 0.2, False, "only {value:.0f} % of the frames were dubbed", 100),
    Threshold("mouth_change", 1.0, True, "the mouth was hardly changed ({value:.1f} grey levels)"),
    Threshold(
        "seam",
        1.0,
        True,
        "the edge of the drawn region can be seen ({value:.1f} times the texture around it)",
    ),
    Threshold("jitter", 3.0, True, "the mouth shimmers ({value:.1f} grey levels more than the footage)"),
    Threshold(
        "sharpness", 0.5, True, "the mouth is softer than the footage around it ({value:.2f} of its detail)"
    ),
)


def judge(record: Mapping[str, Any]) -> tuple[Verdict, list[Reason]]:
    """Return the verdict on a record of a run, and its reasons, the gravest first.

    Args:
        record: `pipelines.state.run_directory.LEDGER`.
    """
    if record["state"] != "done":
        return "failed", [Reason(record["error"] or "no reason is known", None)]
    values = {metric["name"]: metric for metric in record.get("metrics") or ()}
    found: dict[str, Reason] = {}
    for threshold in THRESHOLDS:
        metric = values.get(threshold.metric)
        if metric is None or threshold.metric in found:
            continue
        worst = threshold.worst and metric["worst"] is not None
        value = metric["worst"] if worst else metric["value"]
        beyond = value - threshold.limit
        if (beyond if metric["better"] == "lower" else -beyond) > 0:
            text = threshold.text.format(value=value * threshold.scale)
            found[threshold.metric] = Reason(text, metric["worst_at"] if worst else None)
    return ("review" if found else "ok"), list(found.values())


def severity(verdict: Verdict, reasons: list[Reason]) -> int:
    """Sort key: the larger, the sooner somebody should look."""
    return {"failed": 1000, "review": 100, "ok": 0}[verdict] + len(reasons)
