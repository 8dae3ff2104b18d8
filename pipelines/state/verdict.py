"""Verdicts on dubs: `ok`, `review` with reasons and times, or `failed`.

A verdict is made of metrics, by the profile's thresholds, and of what the planner has doubts about (`pipelines.planning.plans.DubPlan`). A
metric that was not measured says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.engine.profile_parts import ReviewConfig
from pipelines.state.run_directory import Record

Verdict = Literal["ok", "review", "failed"]
#: Share of the frames up to which none is said to have been dubbed.
NONE_DUBBED = 0.01
#: Names of the metrics that count frames by the reason for which they kept their own mouth
#: (`operators.evaluation.shot_measures`) begin so.
PASSED = "passed_"
#: Words for reasons that do not explain themselves in a sentence.
CAUSES = {
    "other": "",
    "no speech": "the speech was over",
    "turned": "the face is turned away",
    "covered": "the mouth or the chin is covered",
    "too small": "the face is too small",
    "cut by the edge": "the face is cut by the edge",
    "unclear": "no face was clear",
    "too dark": "the face is too dark",
    "letters": "letters are in front of the mouth",
}


@dataclass(frozen=True)
class Reason:
    """Reason to look at a dub: in words, and its place in the output in seconds (None: everywhere)."""

    text: str
    at: float | None


@dataclass(frozen=True)
class Rule:
    """A metric whose value beyond a threshold asks for a look.

    Attributes:
        metric: its name; so is the threshold's in `ReviewConfig`.
        better: "higher": the threshold is the smallest value that is not remarkable; "lower": the largest; "nearer": the
            largest on either side of 0.
        shots: compare the worst shot in place of the whole title.
        text: the reason, with ``{value}`` in it.
        scale: of the value in the text.
    """

    metric: str
    better: Literal["higher", "lower", "nearer"]
    shots: bool
    text: str
    scale: float = 1.0

    def broken_by(self, value: float, limit: float) -> bool:
        """True if a value is beyond the threshold."""
        if self.better == "nearer":
            return abs(value) > limit
        return value > limit if self.better == "lower" else value < limit

    def says(self, value: float) -> str:
        """Return the reason in words."""
        if self.metric == "dubbed" and value <= NONE_DUBBED:
            return "no frame was dubbed"
        if self.metric == "sync_lag":
            side = "late" if value > 0 else "early"
            return f"the mouth is {abs(value) * 40:.0f} ms {side} ({abs(value):.0f} frames of 25 a second)"
        return self.text.format(value=value * self.scale)


#: The gravest first.
RULES = (
    Rule("dubbed", "higher", False, "only {value:.0f} % of the frames were dubbed", 100),
    Rule("mouth_change", "higher", True, "the mouth was hardly changed ({value:.1f} grey levels)"),
    Rule("identity_gap", "lower", True, "the drawn face is not the person's ({value:.2f} apart)"),
    Rule("sync_lag", "nearer", False, ""),
    Rule("stands", "lower", True, "the mouth stands still for {value:.1f} s of speech"),
    Rule("sync_r", "higher", False, "the mouth does not follow the speech (correlation {value:.2f})"),
    Rule(
        "silent_motion",
        "lower",
        True,
        "the mouth moves while nobody speaks ({value:.1f} of its motion in speech)",
    ),
    Rule(
        "seam",
        "lower",
        True,
        "the edge of the drawn region can be seen ({value:.1f} times the texture around it)",
    ),
    Rule("color_step", "lower", True, "the drawn region differs in tone at its edge ({value:.1f} levels)"),
    Rule("flicker", "lower", True, "the mouth's brightness flickers ({value:.1f} levels)"),
    Rule("jitter", "lower", True, "the mouth shimmers ({value:.1f} grey levels more than the footage)"),
    Rule(
        "sharpness",
        "higher",
        True,
        "the mouth is softer than the footage around it ({value:.2f} of its detail)",
    ),
)
DEFAULT = ReviewConfig()


def reasons_of(metrics: Iterable[Mapping[str, Any]], review: ReviewConfig = DEFAULT) -> list[Reason]:
    """Return the reasons to look at a dub, the gravest first.

    Args:
        metrics: entries of the ledger's column ``metrics``.
        review: thresholds.
    """
    values = {metric["name"]: metric for metric in metrics}
    found = []
    for rule in RULES:
        metric = values.get(rule.metric)
        if metric is None:
            continue
        worst = rule.shots and metric["worst"] is not None
        value = metric["worst"] if worst else metric["value"]
        if rule.broken_by(value, getattr(review, rule.metric)):
            text = rule.says(value)
            if rule.metric == "dubbed" and value <= NONE_DUBBED and (cause := _cause(values)):
                text = f"{text}: {cause}"
            found.append(Reason(text, metric["worst_at"] if worst else None))
    return found


def _cause(values: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the commonest reason for which frames kept their own mouth, in words; empty where none is known."""
    counts = kept_frames(values.values())
    words = max(counts, key=lambda name: counts[name], default="")
    return CAUSES.get(words, words)


def kept_frames(metrics: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many of the frames that were to be dubbed kept their own mouth, by reason, as in the metrics' names."""
    counts = {
        one["name"].removeprefix(PASSED).replace("_", " "): int(one["value"])
        for one in metrics
        if one["name"].startswith(PASSED)
    }
    counts.pop("outside the ranges", None)
    return counts


def reasons_of_shots(
    shots: Sequence[Mapping[str, Any]], reasons: Sequence[Reason], review: ReviewConfig = DEFAULT
) -> list[list[str]]:
    """Return what speaks against each shot, in words: its own values, and what holds for the whole title.

    Args:
        shots: of a trace (`operators.evaluation.trace`).
        reasons: to look at the dub.
        review: thresholds.
    """
    everywhere = [reason.text for reason in reasons if reason.at is None]
    found = []
    for shot in shots:
        values = shot["metrics"]
        own = [
            rule.says(values[rule.metric])
            for rule in RULES
            if rule.shots
            and rule.metric in values
            and rule.broken_by(values[rule.metric], getattr(review, rule.metric))
        ]
        found.append([*own, *everywhere] if shot["state"] == "dubbed" else [])
    return found


def judge(record: Record) -> tuple[Verdict, list[Reason]]:
    """Return the verdict on a record of a run, and its reasons, the gravest first: those of the run, or of its metrics by the
    thresholds that are shipped where it holds none.
    """
    if record["state"] != "done":
        return "failed", [Reason(record["error"] or "no reason is known", None)]
    stored = record.get("reasons")
    if stored is not None:
        found = [Reason(reason["text"], reason["at"]) for reason in stored]
    else:
        found = reasons_of(record.get("metrics") or ())
    return ("review" if found else "ok"), found
