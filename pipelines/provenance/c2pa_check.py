"""The C2PA check of `retalk verify`: the manifest in a file or beside it, read by the native library in a child process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from operators.storage.files import exists, filesystem, local_copy, local_path
from operators.storage.redact import redact
from pipelines.provenance import native_reader
from pipelines.provenance.findings import Finding, Subject, printable
from pipelines.state.sidecars import SIDECAR, sidecar_name

#: Types of the files that carry manifests or have them beside them, by suffix.
MIME = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/avi",
    ".m4a": "audio/mp4",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}
#: Bytes of such a manifest, at most: real ones have some ten thousand, with thumbnails a few million.
MAX_SIDECAR = 64 << 20
#: Seconds that reading may take, beside those for the file's bytes at the rate (bytes a second) below, far below any disk's.
SECONDS, RATE = 60, 10 << 20
#: Failures that say that the content or the manifest was changed.
CHANGED = re.compile(r"\.mismatch|\.missing|\.inaccessible|\.undeclared")
#: A file that is not of the kind that its name says.
UNPARSED = re.compile(r"expected box type \"ftyp\"")
#: Names of the library's errors.
NOTHING, UNSUPPORTED, REMOTE = "ManifestNotFound", "NotSupported", "Remote"


class ManifestError(ValueError):
    """A manifest cannot be read; the message says why, without the file's name."""


def c2pa_check(subject: Subject) -> Finding:
    """Look for a C2PA manifest in a file, then beside it, and validate it."""
    try:
        answer = read_manifest(subject.path, subject.url, subject.trust.anchors)
        where = "in the file"
        if answer.get("kind") in (NOTHING, UNSUPPORTED, REMOTE):
            with sidecar_of(subject.url) as beside:
                if beside is not None:
                    answer = read_manifest(subject.path, subject.url, subject.trust.anchors, beside)
                    where = "beside the file"
        if answer.get("kind") == REMOTE and subject.trust.remote:
            with _fetched(_address(answer)) as beside:
                answer = read_manifest(subject.path, subject.url, subject.trust.anchors, beside)
                where = "fetched"
    except ManifestError as problem:
        return Finding("c2pa", "unreadable", str(problem))
    if "found" in answer:
        return _judged(answer["found"], where)
    kind = answer.get("kind")
    if kind in (NOTHING, UNSUPPORTED):
        return Finding("c2pa", "none", "no C2PA manifest")
    if kind == REMOTE:
        address = printable(redact(_address(answer)))
        text = f"no C2PA manifest here; the file refers to one at {address}, which was not fetched (--remote fetches it)"
        return Finding("c2pa", "none", text, details={"remote": address})
    if kind in ("Io", "OSError") or UNPARSED.search(answer.get("error") or ""):
        return Finding("c2pa", "unreadable", f"cannot be read: {printable(answer.get('error', ''))}")
    text = f"tampered: its C2PA manifest is damaged ({printable(answer.get('error') or kind)})"
    return Finding("c2pa", "tampered", text)


def _judged(found: Mapping[str, Any], where: str) -> Finding:
    """The finding on a manifest that was read."""
    signature, dub = found["signature"], found.get("dub") or {}
    issuer = printable(signature.get("common_name") or signature.get("issuer") or "an unnamed signer")
    if signature.get("issuer") and signature["issuer"] != signature.get("common_name"):
        issuer = f"{issuer} ({printable(signature['issuer'])})"
    at = printable(signature.get("time") or "")
    stamp = f" at {at}" if at else ", no time stamp"
    if at and not found["time_trusted"]:
        stamp += " by a time-stamp authority that is not trusted here"
    signed = f"signed by {issuer}{stamp}; manifest {where}"
    codes = failures_of(found)
    details = {**found, "where": where, "signer": issuer, "time": at}
    ids = [printable(found["manifest"]), printable(found.get("instance_id") or "")]
    ids += [printable(one.get("value")) for one in found["soft_bindings"]]
    ids = [one for one in ids if one]
    made = f"; dubbed by engine {printable(dub['engine'])}" if dub.get("engine") else ""
    made += _inherited(found)
    if found["state"] == "Trusted" or (found["state"] == "Valid" and found["signer_trusted"]):
        return Finding("c2pa", "trusted", f"trusted: {signed}{made}", ids, details)
    if found["state"] == "Valid":
        return Finding("c2pa", "untrusted", f"valid, but the signer is unknown: {signed}{made}", ids, details)
    why = ", ".join(codes) or "no reason given"
    if any(CHANGED.search(code) for code in codes):
        return Finding("c2pa", "tampered", f"tampered: changed after it was {signed} ({why})", ids, details)
    return Finding("c2pa", "invalid", f"not valid ({why}): {signed}", ids, details)


def _inherited(found: Mapping[str, Any]) -> str:
    """Words on the manifests that a dub's source and speech had."""
    said = []
    for one in found["ingredients"]:
        if one.get("active_manifest"):
            codes = failures_of(one)
            how = f", which did not fit it ({', '.join(codes)})" if codes else ""
            said.append(f"{printable(one.get('title'))} had a manifest of its own{how}")
    if said and found["state"] == "Valid" and found["signer_trusted"]:
        said.append("a signer of those is unknown")
    return "".join(f"; {text}" for text in said)


def failures_of(found: Mapping[str, Any]) -> list[str]:
    """Codes of what is wrong with a manifest, an unknown signer aside."""
    codes = [one.get("code") if isinstance(one, dict) else one for one in found.get("failures") or []]
    return [printable(code) for code in dict.fromkeys(codes) if code != "signingCredential.untrusted"]


def _address(answer: Mapping[str, Any]) -> str:
    """The address that a file without a manifest names."""
    found = re.search(r"https?://\S+", str(answer.get("error", "")))
    return found[0] if found else ""


def read_manifest(path: Path, name: str, anchors: str = "", sidecar: Path | None = None) -> dict[str, Any]:
    """Read a file's manifest in a child process with limits.

    Args:
        path: of the file.
        name: whose suffix tells the type.
        anchors: PEM of trusted roots.
        sidecar: a manifest that lies beside the file.

    Returns:
        As of `pipelines.provenance.native_reader.read`.

    Raises:
        ManifestError: the reader crashed, or took too much time or memory.
    """
    seconds = SECONDS + int(path.stat().st_size / RATE)
    request = {
        "path": str(path.absolute()),
        "mime": mime_of(name),
        "sidecar": None if sidecar is None else str(sidecar.absolute()),
        "anchors": anchors,
        "seconds": seconds,
    }
    command = [sys.executable, str(Path(native_reader.__file__))]
    try:
        done = subprocess.run(
            command, input=json.dumps(request).encode(), capture_output=True, timeout=4 * seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise ManifestError(
            f"its C2PA manifest was not read in {4 * seconds} s: a damaged or hostile file"
        ) from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ManifestError(
            f"the reader of C2PA manifests was ended by {name}: a damaged or hostile manifest"
        )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        why = printable(last or f"exit code {done.returncode}")
        raise ManifestError(
            f"the reader of C2PA manifests failed ({why}): a damaged or hostile manifest"
        ) from None
    return dict(answer)


def mime_of(name: str) -> str | None:
    """The type of a file by its name, None for one that carries no manifests."""
    # Only web addresses have queries; a question mark in a key of an object store is a letter.
    query = name.lower().startswith(("http://", "https://"))
    return MIME.get(Path(name.partition("?")[0] if query else name).suffix.lower())


@contextmanager
def sidecar_of(url: str) -> Iterator[Path | None]:
    """Give the path of the manifest beside a file, None where there is none.

    Raises:
        ManifestError: it is no file, empty or too large.
    """
    name = sidecar_name(url)
    if "?" in url or not exists(name):
        yield None
        return
    fs, path = filesystem(name)
    about = fs.info(path)
    if about["type"] != "file":  # a pipe or a device would never end
        raise ManifestError("what lies beside it under the name of its manifest is no file: not read")
    size = about.get("size")  # None: a server that does not say
    if size == 0:
        raise ManifestError("the manifest beside it is an empty file")
    if size is not None and size > MAX_SIDECAR:
        raise ManifestError(
            f"the manifest beside it is {size >> 20} MiB large, more than {MAX_SIDECAR >> 20}: not read"
        )
    with local_copy(name) as copy:
        yield copy


def _reason(problem: Exception) -> str:
    """Say why an address gave nothing."""
    if isinstance(problem, FileNotFoundError):
        told = printable(redact(problem.strerror or ""))
        return told if "server" in told else "404: the server has no such file"
    return printable(redact(str(problem)))


@contextmanager
def _fetched(address: str) -> Iterator[Path]:
    """Fetch a manifest that a file refers to, by the guarded reader of web addresses.

    Raises:
        ManifestError: it cannot be fetched or is too large.
    """
    if not address or local_path(address) is not None:
        raise ManifestError("the file refers to a manifest at no web address: not fetched")
    with tempfile.NamedTemporaryFile(suffix=SIDECAR) as kept:
        try:
            fs, path = filesystem(address)
            with fs.open(path, "rb") as file:
                data = file.read(MAX_SIDECAR + 1)
        except (OSError, ValueError, ImportError) as problem:
            raise ManifestError(
                f"the manifest at {printable(redact(address))} cannot be fetched ({_reason(problem)})"
            ) from problem
        if len(data) > MAX_SIDECAR:
            raise ManifestError(
                f"the manifest at {printable(redact(address))} is larger than {MAX_SIDECAR >> 20} MiB: not read"
            )
        kept.write(data)
        kept.flush()
        yield Path(kept.name)
