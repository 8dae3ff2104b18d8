"""Manifest files: JSON lines, CSV, TSV or Parquet from any fsspec URL, to rows with the place where each
stands.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from operators.storage.errors import refusal, unanswered
from operators.storage.files import filesystem, local_path
from pipelines.errors import UsageError

#: Keys of a row that are no stage's options; those of a dub, which stand in a row of one dub too.
ROW_KEYS = ("id", "video", "dubs", "face")
DUB_KEYS = (
    "speech",
    "output",
    "language",
    "length",
    "audio",
    "loudness",
    "place",
    "codec",
    "crf",
    "bitrate",
    "preset",
    "consent",
    "ranges",
    "exclude",
    "speakers",
    "mix",
)
#: Key of a manifest of data sets (`retalk train --data`).
DATA_KEYS = ("data",)
#: Bytes of a manifest.
MAX_MANIFEST = 1 << 30
#: Separators of the cells of a CSV file.
DELIMITERS = (",", ";", "\t", "|")
#: What a manifest's name may end in, for messages.
KINDS = ".jsonl, .csv, .tsv or .parquet"

Rows = list[tuple[str, dict[str, Any] | str]]


class ManifestError(UsageError):
    """The manifest as a whole cannot be used; the message names file and rows."""


def folder_of(url: str) -> str:
    """Folder of a manifest, beside which its relative paths lie: absolute, or a URL."""
    local = local_path(url)
    return str(local.absolute().parent) if local is not None else url.rsplit("/", 1)[0]


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
        found = _info(fs, path)
    except UsageError:
        raise
    except Exception as error:  # credentials, networks: each storage has its own
        raise ManifestError(f"{url}: cannot be read ({refusal(error)})") from error
    if found is None:
        here = "" if "://" in url or url.startswith("/") else f" in {Path.cwd()}"
        raise ManifestError(f"{url}: no such file{here}")
    if found["type"] == "directory":
        raise ManifestError(f"{url}: is a directory; give a {KINDS} file")
    kind = (path.split("?", 1)[0] if "://" in path else path).lower().rsplit(".", 1)[-1]
    if (found.get("size") or 0) > MAX_MANIFEST:
        raise ManifestError(f"{url}: the manifest is larger than 1 GiB; split it")
    if kind not in READERS:
        raise ManifestError(f"{url}: a manifest is a {KINDS} file")
    try:
        content = fs.cat_file(path)
    except Exception as error:
        raise ManifestError(f"{url}: cannot be read ({refusal(error)})") from error
    rows = READERS[kind](url, content)
    if not rows:
        raise ManifestError(f"{url}: the manifest has no rows")
    if all(isinstance(row, str) for _, row in rows):
        raise ManifestError(f"{url}: no row can be read; the first: {rows[0][0]}: {rows[0][1]}")
    return rows


def _info(fs: Any, path: str) -> dict[str, Any] | None:
    """Return the file system's entry of a file; None where it is missing."""
    try:
        found: dict[str, Any] = fs.info(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error, FileNotFoundError) and (silent := unanswered(error)):
            raise silent from error
        return None
    return found


def _text(url: str, content: bytes) -> str:
    """A text file's content; lines end with a line feed, with a carriage return in front of it or not."""
    utf16 = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # "Unicode text" of spreadsheets
    if b"\0\0\0" in content[:4096] or (b"\0" in content[:4096] and not utf16):
        raise ManifestError(
            f"{url}: looks like UTF-16 or UTF-32 without its mark at the beginning, or is no text; save it as UTF-8 "
            "(spreadsheets: CSV UTF-8)"
        )
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise ManifestError(
            f"{url} row {row}: {_near(content, error.start)!r} is not UTF-8 text; save the file as UTF-8 (spreadsheets: CSV UTF-8)"
        ) from error
    # Spreadsheets of old Macs end lines with carriage returns alone.
    return text if "\n" in text else text.replace("\r", "\n")


def _near(content: bytes, place: int) -> str:
    """The word around a byte that is no UTF-8, read as Western European text, which it mostly is."""
    start = max(content.rfind(mark, 0, place) for mark in (b",", b";", b"\t", b"\n", b'"')) + 1
    return re.split(r"[,;\t\r\n\"]", content[start : place + 40].decode("cp1252", "replace"))[0]


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
    return _read_table(url, content, "")


def _read_tsv(url: str, content: bytes) -> Rows:
    return _read_table(url, content, "\t")


def _read_table(url: str, content: bytes, delimiter: str) -> Rows:
    """Rows of a CSV file; without a delimiter the header tells it."""
    text = _text(url, content)
    empty = re.match(r"([ \t]*\r?\n)*", text)
    assert empty is not None
    text, skipped = text[empty.end() :], text[: empty.end()].count("\n")
    try:
        reader = csv.DictReader(
            io.StringIO(text, newline=""), strict=True, delimiter=delimiter or _delimiter(text)
        )
        header = [name.strip() for name in reader.fieldnames or []]
        _check_header(url, header, text.split("\n", 1)[0].strip())
        reader.fieldnames = header
        rows: Rows = []
        for row in reader:
            where = f"{url} row {reader.line_num + skipped}"
            if None in row:
                rows.append((where, f"has more cells than the {len(header)} columns"))
            elif None in row.values():
                rows.append((where, f"has fewer cells than the {len(header)} columns"))
            elif any(value.strip() for value in row.values()):
                rows.append((where, {name: value for name, value in row.items() if value.strip() != ""}))
        return rows
    except csv.Error as error:
        raise ManifestError(f"{url}: not CSV ({error})") from error


def _check_header(url: str, header: Sequence[str], line: str) -> None:
    """Refuse a first line that is no header, and one that names a column twice.

    Raises:
        ManifestError: with the line or the column.
    """
    known = [*ROW_KEYS, *DUB_KEYS, *DATA_KEYS]
    if header and not any(difflib.get_close_matches(name.lower(), known, 1, 0.6) for name in header):
        raise ManifestError(
            f"{url}: the first line names no column of a manifest ({line[:80]!r}); it begins with a header such as "
            "id,video,speech,output"
        )
    # Columns without a name are what a spreadsheet leaves behind.
    twice = [name for name, number in Counter(header).items() if name and number > 1]
    if twice:
        raise ManifestError(f"{url}: column {twice[0]!r} appears twice in the header; remove one")


def _delimiter(text: str) -> str:
    """Return the separator: the one that finds most of a manifest's columns in the header, the comma where
    that does not tell.
    """
    line = text.split("\n", 1)[0].rstrip("\r")

    def found(delimiter: str) -> int:
        names = {name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])}
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


READERS = {
    "jsonl": _read_jsonl,
    "ndjson": _read_jsonl,
    "json": _read_jsonl,
    "csv": _read_csv,
    "tsv": _read_tsv,
    "parquet": _read_parquet,
}
