"""Names of metrics in tables and plots, the direction of better values, and digits."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from operators.storage.redact import redact
from pipelines.engine.metrics import load_metric, metric_place
from pipelines.errors import ConfigError
from pipelines.evaluation.results.scores import Arm, Sweep

#: Heading and digits of known metrics, in the order of columns: those of the paper's Table 1 first.
HEADINGS = {
    "fid": ("FID", 3),
    "cpbd": ("CPBD", 4),
    "lse_d": ("LSE-D", 3),
    "lse_c": ("LSE-C", 3),
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 4),
    "lpips": ("LPIPS", 4),
    "csim_dlib": ("CSIM (dlib)", 4),
    "lmd": ("LMD", 3),
    "lip_leak": ("LipLeak", 3),
    "opening_r": ("opening r", 3),
    "opening_lag": ("opening lag", 1),
    "identity_drift": ("identity drift", 4),
}
#: Which values of a set's metrics are better; clips' metrics say it themselves.
SET_BETTER = {"fid": "lower"}
#: Metrics whose best and worst clips are shown.
MAIN = ("lse_c", "opening_r", "cpbd")
#: Longest name and longest reason in a table, characters.
LONGEST, LONGEST_REASON = 60, 200
#: Marks in tables: published rows, results and metrics of made-up weights.
PUBLISHED, MADE_UP = "published", "made-up weights"


@dataclass(frozen=True)
class Column:
    """A metric as a column.

    Attributes:
        metric: its name in ``scores.parquet`` or ``sets.json``.
        heading: of the column, without the arrow.
        better: "higher", "lower" or "".
        unit: "" for none.
        digits: after the point.
        made_up: its own networks have made-up weights.
    """

    metric: str
    heading: str
    better: str
    unit: str
    digits: int
    made_up: bool = False

    @property
    def arrow(self) -> str:
        """Direction of better values."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")

    @property
    def title(self) -> str:
        """Heading with unit, direction and mark."""
        unit = f", {self.unit}" if self.unit else ""
        mark = f" ({MADE_UP})" if self.made_up else ""
        return f"{self.heading}{unit}{f' {self.arrow}' if self.arrow else ''}{mark}"

    def number(self, value: float | None) -> str:
        """A value as text; a dash for none."""
        return "–" if value is None or math.isnan(value) else f"{value:.{self.digits}f}"


@functools.cache
def _declared(metric: str) -> tuple[str, str]:
    """Direction and unit that a metric's class declares; ("", "") for one that is not installed here."""
    try:
        made = load_metric(metric_place(metric))
    except ConfigError:
        return "", ""
    return made.better, made.unit


def column_of(metric: str, about: Mapping[str, Any] | None = None) -> Column:
    """A metric as a column.

    Args:
        metric: name.
        about: ``sweep.json``; its ``metric_weights`` says which metrics were measured with made-up weights.
    """
    heading, digits = HEADINGS.get(metric, (metric.replace("_", " "), 3))
    better, unit = (SET_BETTER[metric], "") if metric in SET_BETTER else _declared(metric)
    weights = (about or {}).get("metric_weights") or {}
    return Column(metric, shortened(heading), better, unit, digits, weights.get(metric) == "recipe")


def columns_of(sweep: Sweep) -> list[Column]:
    """Columns of a sweep's tables: metrics of sets and of clips."""
    names = {*sweep.metrics, *(one["metric"] for one in sweep.sets)}
    return [column_of(name, sweep.about) for name in ordered(names)]


def ordered(metrics: Iterable[str]) -> list[str]:
    """Metrics in the order of columns."""
    places = {name: place for place, name in enumerate(HEADINGS)}
    return sorted(metrics, key=lambda name: (places.get(name, len(places)), name))


def system_name(sweep: Sweep, arm: Arm, longest: int = LONGEST) -> str:
    """Name of an arm's system in a table, marked where its weights are made up."""
    mark = f" ({MADE_UP})" if sweep.weights(arm) == "recipe" else ""
    return f"{shortened(arm.system, longest)}{mark}"


def shortened(text: str, longest: int = LONGEST) -> str:
    """One printable line of a text without secrets, cut to what a table holds."""
    line = " ".join(redact(text[: 10 * longest]).split()) or "(no name)"
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
