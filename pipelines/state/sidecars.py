"""Names of the manifests that lie beside outputs whose container holds none."""

from __future__ import annotations

from collections.abc import Iterable

#: Suffix of a C2PA manifest in a file of its own.
SIDECAR = ".c2pa"
#: Outputs that have one.
BESIDE = (".mkv",)


def sidecar_name(url: str) -> str:
    """The name of the manifest beside a file: the same with the suffix ``.c2pa``."""
    folder, slash, name = url.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return f"{folder}{slash}{stem}{SIDECAR}"


def with_sidecars(outputs: Iterable[str]) -> list[str]:
    """Outputs, each followed by the manifest beside it where it has one."""
    found = ([output, sidecar_name(output)] if has_sidecar(output) else [output] for output in outputs)
    return [file for files in found for file in files]


def has_sidecar(output: str) -> bool:
    """Tell whether the manifest of an output lies beside it."""
    return output.lower().endswith(BESIDE)
