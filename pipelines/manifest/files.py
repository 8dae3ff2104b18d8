"""Manifest files: JSON lines, CSV or Parquet from any fsspec URL, to rows with the place where each stands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from operators.storage.files import filesystem
from pipelines.errors import UsageError

#: Keys of a row that are no stage's options; those of a dub, which stand in a row of one dub too.
ROW_KEYS = ("id", "video", "dubs", "face")
DUB_KEYS = ("speech", "output", "language", "length", "audio")
#: Bytes of a manifest.
MAX_MANIFEST = 1 << 30
#: What may stand between the cells of a CSV file.
DELIMITERS = (",", ";", "\t", "|")

Rows = list[tuple[str, dict[str, Any] | str]]


class ManifestError(UsageError):
    """The manifest as a whole cannot be used; the message names file and rows."""


def read_rows(url: str) -> Rows:
    """Rows of a manifest file.

    Returns:
        For each row where it stands (for messages) and its content, or what is wrong with it where a row
        cannot be parsed.

    Raises:
        ManifestError: missing, empty, of an unknown kind, or not a table at all.
    """
    try:
        fs, path = filesystem(url)
        known = fs.exists(path)
    except UsageError:
        raise
    except Exception as error:  # credentials, networks: each storage has its own
        raise ManifestError(f"{url}: cannot be read ({type(error).__name__}: {error})") from error
    if not known:
        here = "" if "://" in url or url.startswith("/") else f" in {Path.cwd()}"
        raise ManifestError(f"{url}: no such file{here}")
    if fs.isdir(path):
        raise ManifestError(f"{url}: is a directory; give a .jsonl, .csv or .parquet file")
    kind = (path.split("?", 1)[0] if "://" in path else path).lower().rsplit(".", 1)[-1]
    if (fs.size(path) or 0) > MAX_MANIFEST:
        raise ManifestError(f"{url}: the manifest is larger than 1 GiB; split it")
    readers = {
        "jsonl": _read_jsonl,
        "ndjson": _read_jsonl,
        "json": _read_jsonl,
        "csv": _read_csv,
        "parquet": _read_parquet,
    }
    if kind not in readers:
        raise ManifestError(f"{url}: a manifest is a .jsonl, .csv or .parquet file")
    rows = readers[kind](url, fs.cat_file(path))
    if not rows:
        raise ManifestError(f"{url}: the manifest has no rows")
    if all(isinstance(row, str) for _, row in rows):
        raise ManifestError(f"{url}: no row can be read; the first: {rows[0][0]}: {rows[0][1]}")
    return rows


def _text(url: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{url}: not UTF-8 text (byte {error.start})") from error


def _read_jsonl(url: str, content: bytes) -> Rows:
    rows: Rows = []
    for number, line in enumerate(_text(url, content).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.append((f"{url} row {number}", f"not JSON ({error})"))
            continue
        rows.append(
            (
                f"{url} row {number}",
                row if isinstance(row, dict) else "must be a JSON object {...} on one line",
            )
        )
    return rows


def _read_csv(url: str, content: bytes) -> Rows:
    try:
        text = _text(url, content)
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
        header = [name.strip() for name in reader.fieldnames or []]
        if header and not {*ROW_KEYS, *DUB_KEYS} & {*header}:
            raise ManifestError(
                f"{url}: the first line names no column of a manifest ({text.splitlines()[0][:80]!r}); it begins with a header such as "
                "id,video,speech,output"
            )
        reader.fieldnames = header
        rows: Rows = []
        for row in reader:
            where = f"{url} row {reader.line_num}"
            if None in row:
                rows.append((where, f"has more cells than the {len(header)} columns"))
            elif None in row.values():
                rows.append((where, f"has fewer cells than the {len(header)} columns"))
            elif any(value.strip() for value in row.values()):
                rows.append((where, {name: value for name, value in row.items() if value.strip() != ""}))
        return rows
    except csv.Error as error:
        raise ManifestError(f"{url}: not CSV ({error})") from error


def _delimiter(text: str) -> str:
    """What separates the cells: that which finds most of a manifest's columns in the header, the comma where
    that does not tell.
    """
    line = text.lstrip().split("\n", 1)[0]

    def found(delimiter: str) -> int:
        names = {name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])}
        return len(names & {*ROW_KEYS, *DUB_KEYS})

    return max(DELIMITERS, key=found)


def _read_parquet(url: str, content: bytes) -> Rows:
    # Imported here: most manifests are text.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Arrow's errors are of many kinds (also NotImplementedError and KeyError), and texts may be no UTF-8.
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise ManifestError(f"{url}: not a Parquet file that can be read ({error})") from error
    return [(f"{url} row {number}", row) for number, row in enumerate(rows, 1)]
