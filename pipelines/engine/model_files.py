"""Model files that an engine's stages will load, as the stages declare them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.engine.engine import Engine
from pipelines.errors import PreflightError
from retalk_models.registry.registry import check_files


def wanted_files(
    engine: Engine, overrides: Iterable[Mapping[str, Mapping[str, Any]]] = ({},)
) -> dict[str, list[str]]:
    """Networks and model files that the stages will load, by the home they lie in ("": the usual one).

    Args:
        engine: whose stages.
        overrides: the titles' options, for those choose networks too.
    """
    wanted: dict[str, set[str]] = {}
    # Most titles of a catalogue have no options of their own, or the same.
    for title in {json.dumps(values, sort_keys=True, default=repr): values for values in overrides}.values():
        for spec in engine.stages:
            options = dataclasses.replace(spec.options, **title.get(spec.name, {}))
            if names := spec.stage.model_files(options):
                wanted.setdefault(getattr(options, "weights", ""), set()).update(names)
    return {home: sorted(names) for home, names in sorted(wanted.items())}


def check_weights(
    engine: Engine,
    overrides: Iterable[Mapping[str, Mapping[str, Any]]] = ({},),
    licence_clean: bool = False,
) -> None:
    """Look for the model files that the stages will load.

    Args:
        engine: whose stages.
        overrides: the titles' options, for those choose networks too.
        licence_clean: what does without the files may not be used; the message does not send there.

    Raises:
        PreflightError: naming the missing files and the command that brings them.
    """
    for home, files in wanted_files(engine, overrides).items():
        try:
            check_files(files, home)
        except ValueError as problem:
            told = f"engine {engine.name}: {problem}"
            if not licence_clean:
                dlib = "the face backend dlib (--set detect.backend=dlib)"
                none = "--engine exemplar, which needs no weights"
                told += f"\nor use {dlib if engine.name == 'exemplar' else none}"
            raise PreflightError(told) from problem
