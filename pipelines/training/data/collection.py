"""Data sets that are trained on together: a manifest names them, a row each."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from operators.storage.files import suffix as suffix_of
from pipelines.errors import UsageError
from pipelines.manifest.cells import resolve
from pipelines.manifest.files import folder_of, read_rows
from pipelines.training.data.sources import MANIFESTS
from pipelines.training.data.store import DataSet


def data_sets(url: str) -> list[DataSet]:
    """Return the data set at a URL, or those that a manifest names in its column ``data``, in its order.

    Args:
        url: a folder of `retalk train prepare`, or a .csv, .tsv, .jsonl or .parquet file. Relative paths in it lie beside it.

    Raises:
        UsageError: the manifest cannot be read, or a row names no data set; names the row.
    """
    if suffix_of(url) not in MANIFESTS:
        return [DataSet(url)]
    folder = folder_of(url)
    found: list[DataSet] = []
    for number, (where, row) in enumerate(read_rows(url), 1):
        place = where or f"{url}: row {number}"
        if isinstance(row, str):
            raise UsageError(f"{place}: {row}")
        name = row.get("data")
        if not isinstance(name, str) or not name.strip():
            advice = (
                f"it names videos: retalk train prepare {url} -o DIR makes a data set of them"
                if "video" in row
                else "each row names a data set of `retalk train prepare`"
            )
            raise UsageError(f"{place}: data: is missing; {advice}")
        path, problem = resolve(name.strip(), folder, "data")
        if problem:
            raise UsageError(f"{place}: {problem}")
        if any(one.url == DataSet(path).url for one in found):
            raise UsageError(f"{place}: data: {name} stands there twice")
        found.append(DataSet(path))
    if not found:
        raise UsageError(f"{url}: names no data set")
    return found


def check_splits(sets: Sequence[DataSet], indices: Sequence[pa.Table]) -> None:
    """Refuse data sets of which one learns from somebody whom another holds out.

    Raises:
        UsageError: an identity is in two splits; names both data sets.
    """
    seen: dict[str, tuple[str, DataSet]] = {}
    for one, index in zip(sets, indices, strict=True):
        for name, split in zip(index["identity"].to_pylist(), index["split"].to_pylist(), strict=True):
            before, other = seen.setdefault(name, (split, one))
            if before != split:
                raise UsageError(
                    f"{other.url}, {one.url}: {name!r} is in the split {before!r} of one and {split!r} of the other: prepare both with the "
                    "same --seed, --validation and --test, or from one manifest of videos"
                )
