"""Content keys: what decides a result, by name, and hashes of it, for the analysis cache, receipts and records.

Every key in a run directory is made here, of named ingredients. The ones of a dub stand in its record, so that
a later run can say what has changed (`pipelines.state.changes`).

Ingredients that do not depend on titles (code, libraries, devices, model files) are found once, by the driver, and sent to
planners and workers (`Provenance`): on a cluster all of them make the same keys, whatever machine they run on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from operators.storage.files import fingerprint, join
from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine, StageSpec
from pipelines.engine.model_files import wanted_files
from pipelines.engine.specs import Provenance
from pipelines.manifest.titles import Dub, Title, is_picture, merged
from retalk_models import __version__
from retalk_models.registry.catalog import ModelFile, load_catalog
from retalk_models.registry.registry import Registry, home_registry
from retalk_models.tflite.runtime import DISTRIBUTION as LITERT

#: What a content is made of, by name. Values can be written as JSON.
Ingredients = dict[str, Any]
Overrides = Mapping[str, Mapping[str, Any]]

#: The planner's code decides which frames make up a segment, and when they are shown.
PLANNING = "pipelines.planning"
#: Packages of this distribution whose code decides pixels. Stages from elsewhere add their own.
CODE = ("operators", "retalk_models", PLANNING)
#: Libraries that may compute other numbers in another version.
LIBRARIES = (
    LITERT,
    "av",
    "dlib-bin",
    "face-alignment",
    "face_recognition_models",
    "numpy",
    "opencv-python-headless",
    "scenedetect",
    "scenedetect-headless",
    "scipy",
    "torch",
)
#: Columns of a planned row that decide what a stage computes, beside the video's identity.
PLANNED = ("start", "stop", "halo_start", "halo_stop", "shot_start", "shot_stop", "n_frames", "anchor")


def content_key(*parts: Any) -> str:
    """32 hexadecimal digits that change when any of the (JSON-able) parts changes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def version() -> str:
    """Version of this package, part of every content key."""
    return __version__


# --- what does not depend on titles -------------------------------------------------------------------------
def provenance_of(
    engine: Engine, profile: ProfileConfig | None = None, overrides: Iterable[Overrides] = ({},)
) -> Provenance:
    """Find what decides results beside titles and options.

    Args:
        engine: whose stages.
        profile: places the stages on devices; None: all on the CPU.
        overrides: the titles' options, for those choose model files too.
    """
    placed = profile.place(engine.name, engine.names, engine.like) if profile is not None else []
    devices = {stage: pool.device for pool, stages in placed for stage in stages}
    return Provenance(
        version(),
        {unit: source_hash(unit) for unit in (*CODE, *_foreign(engine.stages))},
        libraries(),
        {name: devices.get(name, "cpu") for name in engine.names},
        {home: model_digests(names, home) for home, names in wanted_files(engine, overrides).items()},
    )


def _foreign(stages: Sequence[StageSpec]) -> list[str]:
    """Top packages of stages that are not part of this distribution's code."""
    return sorted({spec.where.partition(":")[0].partition(".")[0] for spec in stages} - set(CODE))


@functools.cache
def source_hash(unit: str) -> str:
    """SHA-256 of the source of a package, with all that is in it, or of a module."""
    found = importlib.util.find_spec(unit)
    assert found is not None, unit
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    files = [(folder, path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not folders and found.origin is not None:
        files = [(Path(found.origin).parent, Path(found.origin))]
    sha = hashlib.sha256()
    for folder, path in files:
        sha.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return sha.hexdigest()


@functools.cache
def libraries() -> dict[str, str]:
    """Versions of those of `LIBRARIES` that are here."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES if _installed(name)}


@functools.cache
def _pillow() -> str:
    return importlib.metadata.version("pillow")


def _installed(name: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=name))


def _used(known: Mapping[str, str], runtimes: Iterable[str]) -> dict[str, str]:
    """Libraries without LiteRT where no stage runs by it: its version decides nothing there, nor whether it is installed."""
    return {name: version for name, version in known.items() if name != LITERT or "litert" in runtimes}


def _runtimes(options: Iterable[Any]) -> list[str]:
    return [getattr(values, "mesh_runtime", "") for values in options]


def model_digests(names: Iterable[str], home: str) -> dict[str, str]:
    """Digests of model files by their name, "" for one that is missing. A file is hashed once a machine, for the
    registry remembers; one in a remote home that nothing pins is told by its size and time.
    """
    registry = home_registry(home)
    return {entry.file: _digest(registry, entry) for entry in registry.catalog.files_of(names)}


def _digest(registry: Registry, entry: ModelFile) -> str:
    if registry.remote is None or entry.file in registry.own:
        return registry.check(entry).sha256
    if entry.sha256:
        return str(registry.expected(entry)[0])
    try:
        return " ".join(map(str, fingerprint(join(registry.remote, entry.file))[1:]))
    except (OSError, ValueError):
        return ""


def weights_of(spec: StageSpec, options: Any, provenance: Provenance) -> dict[str, str]:
    """Digests of the model files that a stage loads with these options."""
    names, home = spec.stage.model_files(options), getattr(options, "weights", "")
    known = provenance.weights.get(home, {})
    files = [entry.file for entry in load_catalog().files_of(names)]
    if any(file not in known for file in files):
        return model_digests(names, home)
    return {file: known[file] for file in files}


# --- what the content of files is made of -------------------------------------------------------------------
def segment_ingredients(
    engine: Engine,
    title: Title,
    dub: Dub,
    video: tuple[str, int, str],
    segment_frames: int,
    provenance: Provenance,
) -> Ingredients:
    """All that decides the content of a dub's encoded segments.

    Args:
        engine: whose stages.
        title: with its options and its choice of a face.
        dub: with its speech, length rule and options.
        video: identity of the title's video.
        segment_frames: of the profile.
        provenance: code, libraries, devices, model files.

    Raises:
        MediaError: the speech or the picture of the face cannot be found.
    """
    options = {
        spec.name: dataclasses.replace(spec.options, **merged(title.options, dub.options).get(spec.name, {}))
        for spec in engine.stages
    }
    weights = {spec.name: weights_of(spec, options[spec.name], provenance) for spec in engine.stages}
    drawn = any(getattr(values, "label", "") for values in options.values())
    return {
        "version": provenance.version,
        "engine": {
            **engine.config.model_dump(exclude={"description", "metrics", "draws"}),
            "stages": [spec.where for spec in engine.stages],
        },
        "segments": segment_frames if engine.config.segments.kind == "frames" else None,
        "options": {name: vars(values) for name, values in options.items()},
        "weights": {name: files for name, files in weights.items() if files},
        "devices": provenance.devices,
        "code": provenance.code,
        # Pillow draws notices, and nothing else that a dub shows.
        "libraries": {
            **_used(provenance.libraries, _runtimes(options.values())),
            **({"pillow": _pillow()} if drawn else {}),
        },
        "face": [face_identity(one.face) for one in dub.speakers] or face_identity(title.face),
        "speakers": [fingerprint(one.speech) for one in dub.speakers],
        "mixed": dub.mixed,
        "length": dub.length,
        "ranges": dub.ranges,
        "exclude": dub.exclude,
        "video": video,
        "speech": fingerprint(dub.speech),
    }


def output_ingredients(dub: Dub) -> Ingredients:
    """Return the ingredients of a dub's output beside its segments: their assembly, what its provenance says, and
    the place.
    """
    names = ("output", "audio", "language", "loudness", "place", "consent", "aigc", "watermark")
    found = {name: getattr(dub, name) for name in names}
    if any(one.consent for one in dub.speakers):
        found["consents"] = [one.consent for one in dub.speakers]
    return found


def output_key(key: str, dub: Dub) -> str:
    """Hash of all that decides a dub's output file; `key` is that of its segments."""
    return content_key(key, output_ingredients(dub))


def analysis_ingredients(
    stages: Sequence[tuple[StageSpec, Any]],
    row: Mapping[str, Any],
    video: tuple[str, int, str],
    provenance: Provenance,
) -> Ingredients:
    """All that decides the columns of a stage that runs once a segment.

    Args:
        stages: this stage and those before it, each with its options for this row.
        row: planned.
        video: identity of the row's video.
        provenance: code, libraries, devices, model files.
    """
    units = {*CODE, *_foreign([spec for spec, _ in stages])} - {PLANNING}
    return {
        "version": provenance.version,
        "video": video,
        "planned": [
            np.asarray(row[name]).tobytes().hex() if name == "anchor" else int(row[name]) for name in PLANNED
        ],
        "stages": [
            [
                spec.where,
                vars(options),
                provenance.devices[spec.name],
                weights_of(spec, options, provenance),
            ]
            for spec, options in stages
        ],
        "code": {unit: provenance.code[unit] for unit in sorted(units)},
        "libraries": _used(provenance.libraries, _runtimes(options for _, options in stages)),
    }


def shot_ingredients(
    engine: Engine, title: Title, video: tuple[str, int, str], provenance: Provenance
) -> Ingredients:
    """All that decides the shots and anchors of a title. Raises `MediaError` as `segment_ingredients`."""
    runtime = engine.mesh_runtime(title.options)
    return {
        "version": provenance.version,
        "code": {unit: provenance.code[unit] for unit in CODE},
        "libraries": _used(provenance.libraries, [runtime]),
        "detect_shots": engine.config.detect_shots,
        "find_faces": engine.config.find_faces,
        "face_finder": engine.face_finder(title.options),
        "mesh_runtime": runtime,
        "recognise": engine.recognises(title.options),
        "video": video,
        "faces": [face_identity(face) for face in title.faces],
    }


def face_identity(face: str) -> Any:
    """Return the identity of a choice of face: a reference picture by its content's identity."""
    return fingerprint(face) if is_picture(face) else face
