"""Bill of materials: packages, native libraries, models and data of an engine as it is here, or of a run as it recorded them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operators.faces.mesh_backend import MESH_FILE
from operators.storage.redact import redact
from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import Engine
from pipelines.engine.metrics import SHIPPED
from pipelines.errors import UsageError
from pipelines.manifest.consent import consents_in
from pipelines.rights.packages import (
    NativeLibrary,
    Package,
    closure,
    ffmpeg_note,
    native_libraries,
    packages,
)
from pipelines.rights.parts import (
    Uses,
    metric_uses,
    planning_uses,
    speech_mark_uses,
    stage_uses,
    terms_of,
    uses_of,
)
from pipelines.state.content_keys import content_key, model_digests
from pipelines.state.ownership import require_run_metadata
from pipelines.state.run_directory import Record, RunDirectory
from retalk_models import __version__
from retalk_models.installation import DISTRIBUTION
from retalk_models.registry.bundled import BundledModel
from retalk_models.registry.catalog import ModelFile
from retalk_models.tflite.runtime import DISTRIBUTION as LITERT

#: Distributions that only runs with these models may use, where they are installed.
OPTIONAL = {
    "s3fd-619a316812.pth": "face-alignment",
    "2DFAN4-11f355bf06.pth.tar": "face-alignment",
    MESH_FILE: LITERT,
}


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that a run has used, or may use.

    Attributes:
        name: in its catalogue.
        sha256: of its bytes; "" where they are not here, or inside a library.
        licence, commercial, data, data_commercial: see `retalk_models.registry.catalog`; "unknown" for strange ones.
        package: distribution that brings it, "" for model files.
        sources: addresses of its file.
        used_by: stages, metrics and the like.
    """

    name: str
    sha256: str
    licence: str
    commercial: str
    data: str
    data_commercial: str
    package: str
    sources: tuple[str, ...]
    used_by: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Dubbed:
    """A dub of a run: title, name, state, key, output, consent (in words, "" for none) and the id of its C2PA manifest ("" for
    none).
    """

    title: str
    dub: str
    state: str
    key: str
    output: str
    consent: str
    manifest: str


@dataclasses.dataclass(frozen=True)
class Inventory:
    """Everything behind an engine or a run.

    Attributes:
        subject: what it is of, in words.
        version: of retalk.
        engine: its name.
        packages, libraries, models: each by name.
        dubs: of a run.
        facts: further names and values, such as digests of code.
        made: ISO 8601 time of the newest record; "" for an engine.
        notes: for the reader.
    """

    subject: str
    version: str
    engine: str
    packages: list[Package]
    libraries: list[NativeLibrary]
    models: list[Model]
    dubs: list[Dubbed] = dataclasses.field(default_factory=list)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    made: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> str:
        """32 hexadecimal digits that change with the content."""
        return content_key(dataclasses.asdict(self))


def of_engine(engine: Engine) -> Inventory:
    """Take stock of what an engine would use here."""
    uses = uses_of(engine)
    found = closure(_roots(engine, uses))
    libraries = native_libraries(found)
    return Inventory(
        f"engine {engine.name} as it is installed here",
        __version__,
        engine.name,
        packages(found),
        libraries,
        _models(uses, _here(uses)),
        notes=[*filter(None, [ffmpeg_note(libraries)])],
    )


def of_run(url: str) -> Inventory:
    """Take stock of what the dubs of a run directory were made with, as their records say; what no record says is looked up
    here, and a note says so.

    Raises:
        UsageError: the directory holds no run, or no finished dub.
    """
    run = RunDirectory(url)
    about = require_run_metadata(run.url)
    records = run.records()
    made = [
        record for record in records if isinstance(record.get("ingredients"), dict) and record["ingredients"]
    ]
    if not made:
        raise UsageError(
            f"{redact(url)}: no dub of it has a record of its ingredients; run it first, or name an --engine"
        )
    newest = max(made, key=lambda record: record["finished"] or "")
    notes, uses, engines = list[str](), Uses(), dict[str, Engine]()
    for key, group in _by_engine(made).items():
        try:
            engine = engines[key] = Engine(_engine_config(group[0]["ingredients"]))
        except (UsageError, ValueError) as problem:
            notes.append(f"an engine of the run cannot be looked into here: {redact(str(problem))}")
            continue
        for record in group:
            _merge(uses, _uses_of_record(engine, record))
    recorded = _recorded_weights(made)
    for name in recorded:
        uses.setdefault(name, ["a stage"])
    found = closure(
        dict.fromkeys(root for one in engines.values() for root in _roots(one, uses)) or [DISTRIBUTION]
    )
    versions = _recorded_versions(made)
    listed, differing = _with_versions(packages(found), versions)
    libraries = native_libraries(found)
    if differing:
        notes.append(
            f"the run had other versions than are installed here: {', '.join(differing)}; native libraries are those of this "
            "installation"
        )
    notes.append(
        "versions of packages beyond those that the records name, and native libraries, are those of this installation"
    )
    return Inventory(
        f"run {redact(run.url)}",
        str(newest["ingredients"].get("version", __version__)),
        str(about.get("engine", newest["engine"])),
        listed,
        libraries,
        _models(uses, {**_here(uses), **recorded}),
        [_dubbed(record) for record in records],
        _facts(made, about),
        str(newest["finished"] or ""),
        [*notes, *filter(None, [ffmpeg_note(libraries)])],
    )


# --- of engines -----------------------------------------------------------------------------------------------


def _roots(engine: Engine, uses: Uses) -> list[str]:
    """Distributions that an engine needs: this one, those of strange stages, and those of models that need one."""
    import importlib.metadata

    owners = importlib.metadata.packages_distributions()
    tops = {spec.where.partition(":")[0].partition(".")[0] for spec in engine.stages}
    strange = [owner for top in sorted(tops) for owner in owners.get(top, []) if owner != DISTRIBUTION]
    optional = sorted({OPTIONAL[name] for name in uses if name in OPTIONAL})
    return list(dict.fromkeys([DISTRIBUTION, *strange, *optional]))


def _here(uses: Uses) -> dict[str, str]:
    """Digests of models as they are here, "" for those that are not."""
    found = {}
    for name in uses:
        terms = terms_of(name)
        if isinstance(terms, BundledModel):
            found[name] = terms.sha256()
        elif isinstance(terms, ModelFile):
            found.update(model_digests([name], ""))
    return found


def _models(uses: Uses, digests: Mapping[str, str]) -> list[Model]:
    found = []
    for name in sorted(uses):
        terms = terms_of(name)
        sources = terms.urls if isinstance(terms, ModelFile) else ()
        pinned = (terms.sha256 or "") if isinstance(terms, ModelFile) else ""
        found.append(
            Model(
                name,
                digests.get(name) or pinned,
                terms.licence if terms else "",
                terms.commercial if terms else "unknown",
                terms.data if terms else "",
                terms.data_commercial if terms else "unknown",
                terms.distribution if isinstance(terms, BundledModel) else "",
                tuple(sources),
                tuple(uses[name]),
            )
        )
    return found


# --- of records -----------------------------------------------------------------------------------------------


def _by_engine(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the engine that made them, with its stages."""
    found: dict[str, list[Record]] = {}
    for record in records:
        made = record["ingredients"]
        found.setdefault(content_key(made.get("engine"), sorted(made.get("options") or {})), []).append(
            record
        )
    return found


def _engine_config(made: Mapping[str, Any]) -> EngineConfig:
    """The engine that a record's ingredients name, without its options."""
    config = dict(made.get("engine") or {})
    stages = [{"stage": where} for where in config.get("stages", [])]
    return EngineConfig.model_validate({**config, "stages": stages})


def _uses_of_record(engine: Engine, record: Record) -> Uses:
    """Models behind one dub: by its options, and by the metrics that it has values of."""
    made = record["ingredients"]
    known = {
        spec.name: {
            name: value
            for name, value in (made.get("options") or {}).get(spec.name, {}).items()
            if name in type(spec.options).__dataclass_fields__
        }
        for spec in engine.stages
    }
    checked = engine.check_overrides(known, "the record")
    places = [SHIPPED[row["name"]] for row in record.get("metrics") or () if row["name"] in SHIPPED]
    found = Uses()
    for part in (
        stage_uses(engine, [checked]),
        planning_uses(engine, options=checked),
        metric_uses(places),
        speech_mark_uses(made.get("watermark") or {}),
    ):
        _merge(found, part)
    return found


def _merge(found: Uses, more: Uses) -> None:
    for name, users in more.items():
        known = found.setdefault(name, [])
        known += [user for user in users if user not in known]


def _recorded_weights(records: Iterable[Record]) -> dict[str, str]:
    """Digests of model files by name, as records say; several with commas."""
    found: dict[str, list[str]] = {}
    for record in records:
        for files in (record["ingredients"].get("weights") or {}).values():
            for name, digest in files.items():
                known = found.setdefault(name, [])
                if digest and digest not in known:
                    known.append(digest)
    return {name: ", ".join(digests) for name, digests in found.items()}


def _recorded_versions(records: Iterable[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        for name, version in (record["ingredients"].get("libraries") or {}).items():
            known = found.setdefault(name.lower().replace("_", "-"), [])
            if version not in known:
                known.append(version)
    return found


def _with_versions(
    listed: Sequence[Package], versions: Mapping[str, Sequence[str]]
) -> tuple[list[Package], list[str]]:
    """Packages with the versions that records name, a package for each; and those that differ from what is installed."""
    found, differing = list[Package](), list[str]()
    for package in listed:
        told = versions.get(package.name, [package.version])
        found += [dataclasses.replace(package, version=version) for version in told]
        differing += [f"{package.name} {version}" for version in told if version != package.version]
    names = {package.name for package in listed}
    for name in sorted(versions.keys() - names):
        found += [Package(name, version, "", "") for version in versions[name]]
    return found, differing


def _facts(records: Sequence[Record], about: Mapping[str, Any]) -> dict[str, str]:
    """Further facts that tell this run from others: profile, the digest of each package's source, devices."""
    facts = {"profile": str(about.get("profile", "")), "dubs": str(len(records))}
    for kind, name in (("code", "source"), ("devices", "device")):
        for record in records:
            for unit, value in (record["ingredients"].get(kind) or {}).items():
                facts.setdefault(f"{name}:{unit}", str(value))
    return {name: value for name, value in facts.items() if value}


def _dubbed(record: Record) -> Dubbed:
    return Dubbed(
        record["title"],
        record["dub"],
        record["state"],
        str(record.get("key") or ""),
        redact(str(record.get("output") or "")),
        "; ".join(f"{name.removeprefix('consent: ')}: {text}" for name, text in consents_in(record)),
        str(record.get("manifest_id") or ""),
    )
