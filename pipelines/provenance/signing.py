"""Sign a finished output, before it appears under its name."""

from __future__ import annotations

import io
import json
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import c2pa
from PIL import Image

from operators.storage.files import atomic_write
from operators.storage.redact import redact
from operators.storage.rewriting import rewritten
from pipelines.engine.profile_parts import ProvenanceConfig
from pipelines.provenance.c2pa_check import ManifestError, mime_of
from pipelines.provenance.credentials import CredentialsError, Signing, load_signing, unfit
from pipelines.provenance.dub_manifest import (
    SOURCE_TYPES,
    DubFacts,
    dub_manifest,
    ingredient,
    ingredients,
    manifest_id,
)
from pipelines.provenance.findings import printable
from pipelines.provenance.source_manifests import Carried, carried_manifest
from pipelines.state.sidecars import has_sidecar, sidecar_name

#: Seconds between the attempts to get a time stamp.
TSA_PAUSES = (0.0, 1.0, 3.0)
SETTINGS: dict[str, Any] = {
    "verify": {
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
        "verify_after_sign": False,  # `retalk verify` and the tests do that; here it would read the file once more
        "verify_trust": False,
    },
    "builder": {"thumbnail": {"enabled": False}},
}


class SigningError(ValueError):
    """An output cannot be signed; the message says why."""


@dataclass(frozen=True)
class Signed:
    """Provenance of an output, as the ledger tells it.

    Attributes:
        provenance: ``embedded``, or ``sidecar`` for a manifest beside the output.
        manifest_id: the manifest's name.
        signed_by: common name of the signer's certificate.
        time_stamp: when a time-stamp authority has seen the signature; ``none`` where it did not answer; "" where none was asked.
        notes: for the user.
    """

    provenance: str
    manifest_id: str
    signed_by: str
    time_stamp: str = ""
    notes: list[str] = field(default_factory=list)


def sign_output(path: Path, facts: DubFacts, signing: Signing) -> Signed:
    """Sign a file that is about to become an output.

    A container that holds manifests gets its own. For others it is written beside the output, complete before the output appears.

    Args:
        path: the finished file under a temporary name; it is replaced.
        facts: about the dub.
        signing: with what.

    Raises:
        SigningError: it cannot be signed.
        OSError: the result cannot be written.
    """
    beside = has_sidecar(facts.output)
    notes: list[str] = []
    why = ""
    for pause in TSA_PAUSES if signing.tsa else ():
        time.sleep(pause)
        try:
            manifest = _signed_file(path, facts, signing, signing.tsa, beside, notes)
            break
        except SigningError as problem:
            why = str(problem)
    else:
        manifest = _signed_file(path, facts, signing, "", beside, notes)
        if signing.tsa:
            notes.append(
                f"no time stamp: {printable(redact(signing.tsa))} gave none ({len(TSA_PAUSES)} tries; the last: {_tsa_problem(why)}); "
                "the signature is valid as long as its certificate"
            )
    if beside:
        with atomic_write(sidecar_name(facts.output)) as target:
            target.write_bytes(manifest)
    stamp = ""
    if signing.tsa:
        stamp = "none" if why and notes and notes[-1].startswith("no time stamp") else _stamp(manifest)
    return Signed(
        *("sidecar" if beside else "embedded", manifest_id(facts.key), signing.signer, stamp),
        notes=list(dict.fromkeys(notes)),
    )


def _tsa_problem(why: str) -> str:
    """The library's words on a time-stamp authority, without those on the signature."""
    found = re.search(r"underlying http resolver: (.*?)\)*$", why)
    return found[1] if found else why.removeprefix("cannot be signed: ").removeprefix("Signature: ")


def _signed_file(
    path: Path, facts: DubFacts, signing: Signing, tsa: str, beside: bool, notes: list[str]
) -> bytes:
    """Sign once, and return the manifest; an embedded one is in the file then."""
    mime = mime_of(facts.output) or ""
    with ExitStack() as stack:
        builder = _builder(dub_manifest(facts, mime), facts, notes, stack)
        source = stack.enter_context(path.open("rb"))
        if beside:
            builder.set_no_embed()
            return _sign(builder, signing, tsa, mime, source, io.BytesIO())
        with rewritten(path) as made, made.open("w+b") as target:
            return _sign(builder, signing, tsa, mime, source, target)


class _Told:
    """A file whose errors are kept: the library only says that there was one.

    Args:
        file: to write to.
        problems: of writing, filled.
    """

    def __init__(self, file: Any, problems: list[Exception]) -> None:
        self._file, self._problems = file, problems

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        """As of the file."""
        try:
            return int(self._file.write(data))
        except OSError as problem:
            self._problems.append(problem)
            raise

    def flush(self) -> None:
        """As of the file."""
        try:
            self._file.flush()
        except OSError as problem:
            self._problems.append(problem)
            raise


def _sign(builder: c2pa.Builder, signing: Signing, tsa: str, mime: str, source: Any, target: Any) -> bytes:
    problems: list[Exception] = []

    def sign(data: bytes) -> bytes:
        try:
            return signing.sign(data)
        except Exception as problem:  # the library only says that there was one
            problems.append(problem)
            raise

    try:
        algorithm = c2pa.C2paSigningAlg[signing.algorithm.upper()]
        signer = c2pa.Signer.from_callback(sign, algorithm, signing.chain, tsa or None)
        return bytes(builder.sign(signer, mime, source, _Told(target, problems)))
    except c2pa.C2paError as problem:
        why = problems[0] if problems else problem
        raise SigningError(f"cannot be signed: {printable(redact(str(why)))}") from why


def _builder(manifest: dict[str, Any], facts: DubFacts, notes: list[str], stack: ExitStack) -> c2pa.Builder:
    """The builder of a manifest with its ingredients: the source and the speeches, with the manifests that they carry."""
    plain: list[dict[str, Any]] = []
    carriers: list[tuple[dict[str, Any], Carried]] = []
    for label, url in ingredients(facts).items():
        told = ingredient(facts, label)
        try:
            carried = stack.enter_context(carried_manifest(url))
        except ManifestError as problem:
            notes.append(f"the C2PA manifest of {told['title']} is not carried over: {problem}")
            carried = None
        if carried is None:
            plain.append({**told, "format": mime_of(url) or "application/octet-stream"})
            continue
        if carried.problems:
            notes.append(
                f"the C2PA manifest of {told['title']} does not fit it ({', '.join(carried.problems)}): it was changed after "
                "it was signed; the output's manifest tells it"
            )
        carriers.append((told, carried))
    builder = c2pa.Builder(json.dumps({**manifest, "ingredients": plain}), c2pa.Context.from_dict(SETTINGS))
    for told, carried in carriers:
        if carried.manifest is None:
            with carried.path.open("rb") as file:
                builder.add_ingredient(json.dumps(told), carried.mime, file)
        else:
            # Of a kind that the library does not know: it looks at the manifest alone.
            beside = _with_sidecar(builder, carried, told["label"])
            builder.add_ingredient(json.dumps({**told, **beside}), "application/octet-stream", io.BytesIO())
    return builder


def _with_sidecar(builder: c2pa.Builder, carried: Carried, label: str) -> dict[str, Any]:
    """Hand a manifest that lies beside an ingredient to the builder, and return what the ingredient says of it."""
    assert carried.manifest is not None
    with carried.path.open("rb") as file:
        reader = c2pa.Reader(carried.mime, file, carried.manifest, c2pa.Context.from_dict(SETTINGS))
        store = json.loads(reader.json())
    name = f"{label}.c2pa"
    builder.add_resource(name, io.BytesIO(carried.manifest))
    return {
        "manifest_data": {"format": "application/c2pa", "identifier": name},
        "active_manifest": store["active_manifest"],
        "validation_results": store.get("validation_results") or {},
    }


def checked_signing(config: ProvenanceConfig, source_type: str) -> Signing | None:
    """Load what a run signs with, and try it; None where it does not sign. Arguments and errors as of `load_signing`."""
    signing = load_signing(config, source_type)
    if signing is not None:
        check_signing(signing)
    return signing


def check_signing(signing: Signing) -> None:
    """Sign a small picture: certificates that C2PA does not accept are known before anything runs.

    Raises:
        UsageError: they are not accepted.
    """
    picture, signed = io.BytesIO(), io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    created = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE_TYPES}digitalCreation"}
    trial = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]}
    try:
        _sign(
            c2pa.Builder(json.dumps(trial), c2pa.Context.from_dict(SETTINGS)),
            signing,
            "",
            "image/png",
            picture,
            signed,
        )
        reader = c2pa.Reader("image/png", signed, context=c2pa.Context.from_dict(SETTINGS))
        state, found = reader.get_validation_state(), reader.get_validation_results() or {}
    except (SigningError, c2pa.C2paError) as problem:
        raise CredentialsError(
            f"nothing can be signed with {signing.signer}: {unfit(signing.chain) or printable(problem)}"
        ) from problem
    if state not in ("Valid", "Trusted"):
        failures = (found.get("activeManifest") or {}).get("failure") or []
        codes = ", ".join(dict.fromkeys(printable(one.get("code")) for one in failures)) or str(state)
        why = unfit(signing.chain) or (
            "the certificate must be for digital signatures, with an extended key usage such as emailProtection, and must not be a root"
        )
        raise CredentialsError(
            f"C2PA accepts no signature of {signing.signer} ({codes}): {why}; docs/provenance.md"
        )


def _stamp(manifest: bytes) -> str:
    """The time in a manifest's time stamp."""
    reader = c2pa.Reader("application/c2pa", io.BytesIO(manifest), context=c2pa.Context.from_dict(SETTINGS))
    active = reader.get_active_manifest() or {}
    return str((active.get("signature_info") or {}).get("time") or "none")
