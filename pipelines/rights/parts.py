"""Models behind a run: which ones, what uses them, and whether their licences and training data allow commercial use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from operators.evaluation.mouth_probe import MODELS as PROBE_MODELS
from operators.faces.dlib_backend import DETECTOR
from operators.faces.dlib_backend import MODELS as DLIB_MODELS
from operators.faces.identity import MODEL as PERSON_MODEL
from operators.faces.mesh_backend import FILES as MESH_FILES
from operators.watermark.learned import AUDIOSEAL, FILES
from pipelines.engine.engine import Engine, StageSpec
from pipelines.engine.metrics import load_metric
from pipelines.manifest.titles import Title, is_picture, overrides_of
from retalk_models.registry.bundled import BundledModel, bundled_models
from retalk_models.registry.catalog import ModelFile, is_clean, load_catalog

#: Fonts that come with retalk, by their name in `retalk_models.registry.bundled`.
LABEL_FONTS = "retalk/label-fonts"
#: Users of models that are no stage and no metric.
SEARCH, WATCH, PERSON = "the search for faces", "the measures of the mouth", "face pictures"
PEOPLE = "telling people apart"
SPEECH_MARK = "the mark of the speech"
#: A run's models by name, each with what uses it.
Uses = dict[str, list[str]]


def stage_models(spec: StageSpec, overrides: Mapping[str, Any] | None = None) -> list[str]:
    """Names of the models that a stage may load with its options and these on top, each once."""
    options = dataclasses.replace(spec.options, **(overrides or {}))
    names = [entry.file for entry in load_catalog().files_of(spec.stage.model_files(options))]
    if getattr(options, "label", "") and not options.label_font:
        names.append(LABEL_FONTS)
    if getattr(options, "watermark_by", "builtin") in FILES:
        names.append(FILES[options.watermark_by][0])
    return list(dict.fromkeys([*names, *spec.stage.bundled_models(options)]))


def stage_uses(engine: Engine, overrides: Iterable[Mapping[str, Mapping[str, Any]]] = ({},)) -> Uses:
    """Models of an engine's stages; `overrides`: options ``{stage: {option: value}}`` of titles and dubs."""
    found: Uses = {}
    for spec in engine.stages:
        given = {repr(sorted(one.get(spec.name, {}).items())): one.get(spec.name, {}) for one in overrides}
        for values in given.values() or ({},):
            for name in stage_models(spec, values):
                _add(found, name, f"stage {spec.name}")
    return found


def planning_uses(
    engine: Engine, titles: Iterable[Title] = (), options: dict[str, dict[str, Any]] | None = None
) -> Uses:
    """Models of the planner: of its search for faces, of telling the people of a title apart, and of its look for the person of a
    picture.

    Args:
        titles: what they ask for; none: what a title with these options ``{stage: {option: value}}`` does.
    """
    found: Uses = {}
    if not engine.config.find_faces:
        return found
    for chosen, faces in [(title.options, title.faces) for title in titles] or [(options or {}, ())]:
        mesh = engine.face_finder(chosen) == "mesh"
        for name in MESH_FILES if mesh else (DETECTOR,):
            _add(found, name, SEARCH)
        if engine.recognises(chosen):
            _add(found, PERSON_MODEL, PEOPLE)
        if any(is_picture(face) for face in faces):
            for name in (*(MESH_FILES if mesh else DLIB_MODELS), PERSON_MODEL):
                _add(found, name, PERSON)
    return found


def speech_mark_uses(watermark: Mapping[str, Any]) -> Uses:
    """Models of the mark that a dub's speech gets; `watermark` as of `pipelines.manifest.titles.Dub`."""
    return {FILES[AUDIOSEAL][0]: [SPEECH_MARK]} if watermark.get("speech") == AUDIOSEAL else {}


def metric_uses(places: Iterable[str] | None) -> Uses:
    """Models of metrics, and of the watch that accompanies any."""
    found: Uses = {}
    for place in places or ():
        metric = load_metric(place)
        for name in metric.models:
            _add(found, name, f"metric {metric.name}")
        for name in PROBE_MODELS:
            _add(found, name, WATCH)
    return found


def uses_of(engine: Engine, titles: Iterable[Title] = ()) -> Uses:
    """All models that an engine may load for these titles, each with what uses it."""
    listed = list(titles)
    found: Uses = {}
    for part in (
        stage_uses(engine, [{}, *overrides_of(listed)]),
        planning_uses(engine, listed),
        metric_uses(engine.config.metrics),
    ):
        for name, users in part.items():
            for user in users:
                _add(found, name, user)
    return found


def _add(found: Uses, name: str, user: str) -> None:
    users = found.setdefault(name, [])
    if user not in users:
        users.append(user)


def terms_of(name: str) -> ModelFile | BundledModel | None:
    """Licence and training data of a model; None for one that no catalogue has."""
    return bundled_models().get(name) or load_catalog().files.get(name)


def problem_of(name: str) -> str:
    """Say why a model is not for commercial use, or not known to be; "" where it is."""
    terms = terms_of(name)
    if terms is None:
        return "its licence is not known"
    if is_clean(terms):
        return ""
    if terms.commercial != "yes":
        return f"licence: {terms.licence} (commercial use: {terms.commercial})"
    return f"trained on: {terms.data} (commercial use: {terms.data_commercial})"
