"""Verdicts on finished dubs (`pipelines.state.verdict`) and the order in which people look at them."""

from __future__ import annotations

from pipelines.state.verdict import Reason, Verdict, judge

__all__ = ["Reason", "Verdict", "judge", "severity"]


def severity(verdict: Verdict, reasons: list[Reason]) -> int:
    """Sort key: the larger, the sooner somebody should look."""
    return {"failed": 1000, "review": 100, "ok": 0}[verdict] + len(reasons)
