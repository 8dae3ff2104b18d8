"""Manifests that a dub's source or speech carries already: they are kept as the ingredient's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from operators.media.audio import find_audio
from operators.media.container import open_input
from operators.media.languages import language_tag
from operators.media.outer_parts import Part, outer_boxes, outer_chunks
from operators.storage.errors import MediaError
from operators.storage.files import filesystem, local_copy
from pipelines.provenance.c2pa_check import ManifestError, failures_of, mime_of, read_manifest, sidecar_of

#: Type of the MP4 box that holds a manifest.
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
#: Boxes or chunks of a file that are looked at, and bytes at its beginning where other containers hold a manifest.
PARTS, BEGINNING = 10_000, 1 << 20


@dataclass(frozen=True)
class Carried:
    """A manifest that an ingredient carries.

    Attributes:
        path: of the ingredient, or of a copy of it, on this machine.
        mime: its type.
        manifest: content of the manifest beside it; None: it is in the file.
        problems: codes of what is wrong with it; it is kept all the same.
    """

    path: Path
    mime: str
    manifest: bytes | None = None
    problems: tuple[str, ...] = ()


@contextmanager
def carried_manifest(url: str) -> Iterator[Carried | None]:
    """Give the manifest of a file; None where it has none.

    The native library reads the file in a child process first: what crashes it is not given.

    Raises:
        ManifestError: there is one that cannot be read.
    """
    try:
        with sidecar_of(url) as beside:
            if beside is None and not may_carry(url):
                yield None
                return
            with local_copy(url) as path:
                answer = read_manifest(path, url)
                mime = mime_of(url) or "application/octet-stream"
                if "found" in answer:
                    yield Carried(path, mime, problems=tuple(failures_of(answer["found"])))
                elif beside is not None:
                    answer = read_manifest(path, url, sidecar=beside)
                    if "found" not in answer:
                        raise ManifestError(f"the manifest beside it: {answer.get('error')}")
                    problems = tuple(failures_of(answer["found"]))
                    yield Carried(path, mime, beside.read_bytes(), problems)
                elif answer.get("kind") in ("ManifestNotFound", "NotSupported", "Remote"):
                    yield None
                else:
                    raise ManifestError(str(answer.get("error") or "damaged"))
    except OSError as problem:
        raise ManifestError(str(problem)) from problem


def spoken_language(url: str) -> str:
    """The language of a video's default audio as its file tells it, in the form of BCP 47; "" where it does not."""
    try:
        with open_input(url) as container:
            told = find_audio(container, url).language or ""
    except (MediaError, OSError):
        return ""
    return language_tag(told) if told not in ("", "und") else ""


def may_carry(url: str) -> bool:
    """Look whether a file may carry a manifest, without the native library: few reads, whatever its size."""
    fs, path = filesystem(url)
    with fs.open(path, "rb") as file:
        head = file.read(12)
        if head[4:8] == b"ftyp":
            return any(_is_c2pa(file, box) for box in islice(outer_boxes(file), PARTS))
        if head[:4] == b"RIFF":
            return any(chunk.kind == b"C2PA" for chunk in islice(outer_chunks(file, 12, "little"), PARTS))
        file.seek(0)
        return b"jumbf" in (start := file.read(BEGINNING)) or b"jumb" in start


def _is_c2pa(file: BinaryIO, box: Part) -> bool:
    if box.kind != b"uuid":
        return False
    file.seek(box.content)
    return file.read(16) == C2PA_BOX
