"""`--licence-clean`: only models whose licence and training data allow commercial use. Others are replaced where an option of
a stage can do without them, and refused by name where none can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipelines.engine.config import EngineConfig, load_engine, names
from pipelines.engine.engine import Engine, StageSpec
from pipelines.engine.metrics import DEFAULT, OPTION, chosen_metrics, load_metric
from pipelines.engine.model_files import check_weights
from pipelines.engine.profile_parts import RightsConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import UsageError
from pipelines.manifest.titles import Title, label
from pipelines.rights.parts import (
    PERSON,
    WATCH,
    Uses,
    metric_uses,
    planning_uses,
    problem_of,
    speech_mark_uses,
    stage_models,
    stage_uses,
    terms_of,
    uses_of,
)
from retalk_models.registry.bundled import bundled_models
from retalk_models.registry.catalog import load_catalog

Options = Mapping[str, Mapping[str, Any]]
#: What to do where nobody may be recognised by a picture.
BY_PLACE = "choose the face by left, right, largest or a number (0 is the leftmost) in place of the picture"


class UncleanPartsError(UsageError):
    """Parts are not for commercial use, and no option does without them; the message names them."""


def clean_engine(
    engine: str | EngineConfig, options: Options | None, rights: RightsConfig
) -> tuple[Engine, list[str]]:
    """Resolve an engine, with what is not for commercial use replaced.

    Args:
        engine, options: as for `resolve_engine`; "auto" stands for the first engine whose models are here and clean.
        rights: conditions of the run; without ``licence_clean`` the engine is what `resolve_engine` gives.

    Returns:
        The engine, and notes on what was replaced and on what is taken on its publisher's word.

    Raises:
        ConfigError: as `resolve_engine`.
        UncleanPartsError: something cannot be replaced.
    """
    accepted = frozenset(rights.accepted_models)
    if unknown := [name for name in rights.accepted_models if terms_of(name) is None]:
        known = ", ".join([*bundled_models(), *load_catalog().files])
        raise UsageError(f"accepted_models: no model is called {unknown[0]!r}: known are {known}")
    if not rights.licence_clean:
        return resolve_engine(engine, options), []
    if engine != "auto":
        return _cleaned(engine, options, accepted)
    refused = []
    for name in _ranked():
        try:
            built, notes = _cleaned(name, options, accepted)
            check_weights(built, licence_clean=True)
        except UsageError as problem:
            refused.append(problem)
            continue
        return built, notes
    raise refused[-1]  # Of the last engine, which is the one that runs everywhere.


def _ranked() -> list[str]:
    ranks = {name: rank for name in names("engines") if (rank := load_engine(name).auto) is not None}
    return sorted(ranks, key=ranks.__getitem__)


def _refused(uses: Uses, accepted: frozenset[str]) -> Uses:
    return {name: users for name, users in uses.items() if name not in accepted and problem_of(name)}


def _cleaned(
    engine: str | EngineConfig, options: Options | None, accepted: frozenset[str]
) -> tuple[Engine, list[str]]:
    wanted = {stage: dict(values) for stage, values in (options or {}).items()}
    built, notes = resolve_engine(engine, options), list[str]()
    for spec in built.stages:
        for option, value, gone in _replacements(spec, wanted.get(spec.name, {}), accepted):
            wanted.setdefault(spec.name, {})[option] = value
            notes.append(
                f"licence-clean: {spec.name}.{option} is {value!r} instead of {getattr(spec.options, option)!r}, which needs "
                f"{', '.join(gone)}"
            )
    built = resolve_engine(engine, wanted) if notes else built
    built, dropped = _without_metrics(built, options, accepted)
    notes += dropped
    if left := _refused(uses_of(built), accepted):
        raise UncleanPartsError(_refusal(built.name, left, _way_out(built, engine, options or {}, accepted)))
    notes += _on_their_word(uses_of(built), accepted)
    return built, notes


def _replacements(
    spec: StageSpec, asked: Mapping[str, Any], accepted: frozenset[str]
) -> list[tuple[str, Any, list[str]]]:
    """Find values of options with which a stage needs fewer of the models that are refused: option, value, and the models
    that go. Options that the user has set stay.
    """

    def unclean(values: Mapping[str, Any]) -> set[str]:
        return {name for name in stage_models(spec, values) if name not in accepted and problem_of(name)}

    kinds, chosen = get_type_hints(type(spec.options)), dict[str, Any]()
    found = []
    for field in dataclasses.fields(spec.options):
        if field.name in asked or get_origin(kinds[field.name]) is not Literal:
            continue
        now = unclean(chosen)
        best = min(
            (
                value
                for value in get_args(kinds[field.name])
                if _is_allowed(spec, {**chosen, field.name: value})
            ),
            key=lambda value: len(unclean({**chosen, field.name: value})),
            default=getattr(spec.options, field.name),
        )
        after = unclean({**chosen, field.name: best})
        if after < now:
            chosen[field.name] = best
            found.append((field.name, best, sorted(now - after)))
    return found


def _is_allowed(spec: StageSpec, values: Mapping[str, Any]) -> bool:
    try:
        dataclasses.replace(spec.options, **values)
    except ValueError:
        return False
    return True


def _without_metrics(
    engine: Engine, options: Options | None, accepted: frozenset[str]
) -> tuple[Engine, list[str]]:
    """An engine without the metrics that need what is refused, unless they were asked for by name."""
    section, option = OPTION
    places = list(engine.config.metrics or ())
    refused = _refused(metric_uses(places), accepted)
    if not refused or (options or {}).get(section, {}).get(option, DEFAULT) != DEFAULT:
        return engine, []
    watched = any(WATCH in users for users in refused.values())
    keep = [] if watched else [one for one in places if not set(load_metric(one).models) & refused.keys()]
    kept, _ = chosen_metrics(engine, keep or "none")
    made = Engine(engine.config.model_copy(update={"metrics": kept}))
    made.notes = engine.notes
    gone = (
        "all metrics are off"
        if not keep
        else "metrics are off: " + ", ".join(load_metric(one).name for one in places if one not in keep)
    )
    return made, [f"licence-clean: {gone}, which need {', '.join(sorted(refused))}"]


def _way_out(built: Engine, engine: str | EngineConfig, options: Options, accepted: frozenset[str]) -> str:
    """Return the settings with which nothing is refused in place of some that the user has made; empty where there are none."""
    better = {
        spec.name: {
            option: value
            for option, value, _ in _replacements(spec, {}, accepted)
            if option in options.get(spec.name, {})
        }
        for spec in built.stages
    }
    told = [
        f"--set {stage}.{option}={value}"
        for stage, values in better.items()
        for option, value in values.items()
    ]
    if not told:
        return ""
    tried = {stage: {**options.get(stage, {}), **better.get(stage, {})} for stage in {**options, **better}}
    try:
        _cleaned(engine, tried, accepted)
    except UncleanPartsError:
        return ""
    return " ".join(told)


def _refusal(engine: str, refused: Uses, way_out: str) -> str:
    lines = [f"licence-clean: engine {engine} needs models that are not cleared for commercial use:"]
    lines += [f"  {name} ({', '.join(users)}): {problem_of(name)}" for name, users in refused.items()]
    without = (
        f"{way_out} does without them, and so does leaving that setting out"
        if way_out
        else "no option does without them"
    )
    lines.append(
        f"{without}. Whoever has the right to use one (a licence of its authors) names it with --accept-model NAME; "
        "docs/rights.md#licences; nothing has run"
    )
    return "\n".join(lines)


def _on_their_word(uses: Uses, accepted: frozenset[str]) -> list[str]:
    """Notes on models that the user has accepted, and on those whose training data is not known to be clear."""
    told, yours = [], []
    for name in uses:
        terms = terms_of(name)
        if name in accepted and problem_of(name):
            yours.append(name)
        elif terms is not None and terms.data_commercial != "yes":
            told.append(f"{name} (trained on: {terms.data or 'not known'})")
    found = [
        f"licence-clean: on their publishers' word, for the terms of their data are not known: {', '.join(told)}"
    ]
    return [
        *(found if told else []),
        *([f"licence-clean: accepted by name: {', '.join(yours)}"] if yours else []),
    ]


def check_titles(engine: Engine, titles: Sequence[Title], rights: RightsConfig) -> None:
    """Refuse titles whose own options, or picture of a face, need models that are refused.

    Args:
        engine: as `clean_engine` gives it.
        titles: with their options.
        rights: conditions of the run.

    Raises:
        UncleanPartsError: naming rows and models.
    """
    if not rights.licence_clean:
        return
    accepted = frozenset(rights.accepted_models)
    lines = []
    for title in titles:
        for where, uses in _of_title(engine, title):
            if refused := _refused(uses, accepted):
                named = "; ".join(
                    f"{name} ({', '.join(users)}): {problem_of(name)}" for name, users in refused.items()
                )
                if any(PERSON in users for users in refused.values()):
                    named += f"; {BY_PLACE}"
                lines.append(": ".join([*dict.fromkeys(filter(None, [title.where, where])), named]))
    if lines:
        raise UncleanPartsError(
            "licence-clean: rows ask for models that are not cleared for commercial use:\n"
            + "\n".join(lines[:20])
        )


def _of_title(engine: Engine, title: Title) -> Iterable[tuple[str, Uses]]:
    yield title.id, stage_uses(engine, [title.options])
    yield title.id, planning_uses(engine, [title])
    for dub in title.dubs:
        yield label(title.id, dub.dub), stage_uses(engine, [dub.options])
        yield label(title.id, dub.dub), speech_mark_uses(dub.watermark)
