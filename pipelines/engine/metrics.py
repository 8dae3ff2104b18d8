"""Metrics of a run by name: those that are shipped and the entry points ``retalk.metrics`` of other
distributions.

The driver chooses them; an engine's configuration carries where their classes are, as of its stages.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from operators.columns import tensor_spec
from operators.evaluation.metric import Metric, SegmentMetric, TitleMetric
from operators.segment import DUB, PLAN
from pipelines.engine.engine import Engine
from pipelines.errors import ConfigError
from retalk_models.installation import DISTRIBUTION
from retalk_models.plugins import METRICS, PluginError, plugin, plugins

#: Metrics of this distribution: name and place of the class.
SHIPPED = {
    "dubbed": "operators.evaluation.coverage:Dubbed",
    "mouth_change": "operators.evaluation.coverage:MouthChange",
    "sharpness": "operators.evaluation.sharpness:Sharpness",
    "seam": "operators.evaluation.seam:Seam",
    "jitter": "operators.evaluation.jitter:Jitter",
    "flicker": "operators.evaluation.flicker:Flicker",
    "color_step": "operators.evaluation.color_step:ColorStep",
    "identity_gap": "operators.evaluation.identity_gap:IdentityGap",
    "cpbd": "operators.evaluation.cpbd:Cpbd",
    "psnr": "operators.evaluation.paired:Psnr",
    "ssim": "operators.evaluation.paired:Ssim",
    "lpips": "operators.evaluation.lpips:Lpips",
    "lip_leak": "operators.evaluation.title_metrics:LipLeak",
    "opening_r": "operators.evaluation.title_metrics:OpeningCorrelation",
    "opening_lag": "operators.evaluation.title_metrics:OpeningLag",
    "lmd": "operators.evaluation.title_metrics:MouthDistance",
    "csim_dlib": "operators.evaluation.title_metrics:Csim",
    "identity_drift": "operators.evaluation.title_metrics:IdentityDrift",
    "lse_d": "operators.evaluation.title_metrics:LseD",
    "lse_c": "operators.evaluation.title_metrics:LseC",
    "lse_d_source": "operators.evaluation.title_metrics:LseDSource",
    "lse_c_source": "operators.evaluation.title_metrics:LseCSource",
}
#: Those that cost next to nothing, and are measured without being asked for (`Metric.on`).
BY_DEFAULT = (
    "dubbed",
    "mouth_change",
    "sharpness",
    "seam",
    "jitter",
    "flicker",
    "color_step",
    "identity_gap",
)
#: The option of ``--set`` that chooses metrics, and the choices besides names.
OPTION = ("metrics", "on")
#: The section of ``--set`` with thresholds for review (`pipelines.engine.profile_parts.ReviewConfig`).
REVIEW = "review"
DEFAULT, ALL, NONE = "default", "all", "none"


def metric_names() -> dict[str, str]:
    """Names of all metrics with the distributions that bring them."""
    found = dict.fromkeys(SHIPPED, DISTRIBUTION)
    for name, entries in plugins(METRICS).items():
        owners = [*([found[name]] if name in found else []), *(entry.distribution for entry in entries)]
        found[name] = " and ".join(owners)
    return found


def metric_place(name: str) -> str:
    """Return ``module:Class`` of a metric.

    Raises:
        ConfigError: no metric has the name, two distributions have it, or it cannot be used.
    """
    known = metric_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"metric {name!r} is unknown{hint}: choose {', '.join(known)}, {ALL} or {NONE}")
    try:
        entry = plugin(METRICS, name, DISTRIBUTION if name in SHIPPED else "")
        place = SHIPPED[name] if entry is None else entry.value
        metric = load_metric(place)
        if metric.name != name:
            raise ConfigError(f"metric {name!r} ({place}): its class calls itself {metric.name!r}")
    except PluginError as problem:
        raise ConfigError(str(problem)) from problem
    except ConfigError as problem:
        raise (ConfigError(str(entry.error(str(problem)))) if entry else problem) from problem
    return place


def load_metric(place: str) -> Metric:
    """Make the metric of ``module:Class``, or of ``module:Class?name=value&...`` with arguments (texts).

    Raises:
        ConfigError: it cannot be imported, or is no metric.
    """
    where, _, query = place.partition("?")
    module, _, name = where.partition(":")
    try:
        arguments = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        made: Any = getattr(importlib.import_module(module), name)(**arguments)
    except Exception as problem:
        raise ConfigError(
            f"metric {place} cannot be loaded: {type(problem).__name__}: {problem}"
        ) from problem
    if not isinstance(made, (SegmentMetric, TitleMetric)):
        raise ConfigError(f"metric {place} is neither a SegmentMetric nor a TitleMetric")
    return made


def place_with(place: str, **arguments: str) -> str:
    """The place of a metric that is constructed with these arguments; empty ones are left out."""
    given = {name: value for name, value in arguments.items() if value}
    return f"{place}?{urlencode(given)}" if given else place


def load_metrics(places: Iterable[str]) -> tuple[list[Metric], list[str]]:
    """Make metrics in a worker; what cannot be loaded on this node is left out and said in a note."""
    metrics, notes = [], []
    for place in places:
        try:
            metrics.append(load_metric(place))
        except ConfigError as problem:
            notes.append(str(problem))
    return metrics, notes


def applies(metric: Metric, engine: Engine) -> bool:
    """True if the engine's last stage reads the columns that a metric needs."""
    if not isinstance(metric, SegmentMetric):
        return True
    there = {field.name: field for field in (*engine.stages[-1].stage.reads, *PLAN, *DUB)}
    return all(
        field.name in there
        and (there[field.name].type, tensor_spec(there[field.name])) == (field.type, tensor_spec(field))
        for field in metric.reads
    )


def chosen_metrics(engine: Engine, choice: Any) -> tuple[list[str], list[str]]:
    """Return the places of the metrics to measure with an engine, and what is to be said of others.

    Args:
        engine: without metrics.
        choice: names or places (``module:Class``), as a list or with commas between them; "all" that apply; "none"; "default": all that
            apply and are `Metric.on`. Metrics that are not asked for by name and cannot be used are left out.

    Raises:
        ConfigError: one that is named is unknown, cannot be used, or does not apply.
    """
    names = [name.strip() for name in choice.split(",")] if isinstance(choice, str) else list(choice)
    if names in ([NONE], []):
        return [], []
    if names not in ([DEFAULT], [ALL]):
        places = [name if ":" in name else metric_place(name) for name in names]
        for name, metric in zip(names, map(load_metric, places)):
            if not applies(metric, engine):
                raise ConfigError(f"metric {name!r} {_unfit(metric, engine)}")
        return places, []
    places, notes = [], []
    for name in metric_names():
        if names == [DEFAULT] and name in SHIPPED and name not in BY_DEFAULT:
            continue  # its module is not imported: a user's mistake is told at once
        try:
            place = metric_place(name)
        except ConfigError as problem:
            notes.append(f"not measured: {problem}")
            continue
        metric = load_metric(place)
        if applies(metric, engine) and (metric.on or names == [ALL]):
            places.append(place)
    return places, notes


def _unfit(metric: Metric, engine: Engine) -> str:
    wanted: Sequence[str] = metric.reads.names if isinstance(metric, SegmentMetric) else ()
    last = engine.stages[-1]
    return (
        f"does not fit engine {engine.name}: it reads {', '.join(wanted)}, "
        f"and the last stage {last.name!r} reads {', '.join(last.stage.reads.names) or 'nothing'}"
    )
