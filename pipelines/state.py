"""The run directory: plans, receipts, records of finished dubs, the ledger. Any fsspec URL; every file appears whole or not at all.

plan.parquet                    one row per piece that was planned
plans/TITLE-KEY.json            shots and anchors of a title, so that a resumed run does not look for them again
segments/TITLE/NAME.mp4         encoded segments, until their dub is assembled
receipts/TITLE/NAME.json        one small file per committed segment; NAME carries the hash of all that decided its content
records/TITLE/DUB.json          one per dub that ended: done or failed
ledger.jsonl, ledger.parquet    the records in one table, written when a run ends
lock.json                       who is running
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.media.storage import atomic_write, filesystem, join, local_path
from pipelines.titles import slug

Record = dict[str, Any]

#: Columns of the ledger, one row per title and dub.
LEDGER = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in ("title", "dub", "state", "error", "video", "speech", "output", "language", "engine", "key")
        ),
        *(pa.field(name, pa.int64()) for name in ("frames", "segments", "reused", "bytes", "size")),
        pa.field("seconds", pa.float64()),
        pa.field("video_seconds", pa.float64()),
        pa.field("stage_seconds", pa.string()),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("finished", pa.string()),
    ]
)


def content_key(*parts: Any) -> str:
    """32 hexadecimal digits that change when any of the (JSON-able) parts changes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_text(url: str, text: str) -> None:
    """Write a small file whole."""
    with atomic_write(url) as path:
        path.write_text(text, encoding="utf-8")


def read_json(url: str) -> Any | None:
    """A JSON file's content; None where there is no such file or it is damaged (damaged state is not trusted, the work is done again)."""
    fs, path = filesystem(url)
    try:
        return json.loads(fs.cat_file(path))
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError):
        return None


def sha256_file(url: str) -> str | None:
    """SHA-256 of a file's content, None where it is missing."""
    fs, path = filesystem(url)
    digest = hashlib.sha256()
    try:
        with fs.open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def remove(url: str, recursive: bool = False) -> None:
    """Delete a file or folder that may be gone already."""
    fs, path = filesystem(url)
    try:
        fs.rm(path, recursive=recursive)
    except FileNotFoundError:
        return


class RunDirectory:
    """Names and files of one run directory. Plain data (a URL): can be sent to any process."""

    def __init__(self, url: str) -> None:
        local = local_path(url)
        self.url = str(local.absolute()) if local is not None else url.rstrip("/")

    # --- names --------------------------------------------------------------------------------------------------------------------
    def segments(self, title: str) -> str:
        """Folder of a title's encoded segments."""
        return join(self.url, "segments", slug(title))

    def receipts(self, title: str) -> str:
        """Folder of a title's receipts."""
        return join(self.url, "receipts", slug(title))

    def record(self, title: str, dub: str) -> str:
        """File of a dub's record."""
        return join(self.url, "records", slug(title), f"{slug(dub)}.json")

    def plan(self, title: str, key: str) -> str:
        """File of a title's shots and anchors."""
        return join(self.url, "plans", f"{slug(title)}-{key}.json")

    # --- receipts -----------------------------------------------------------------------------------------------------------------
    def write_receipt(self, title: str, receipt: Mapping[str, Any]) -> None:
        """Commit a segment: from now on it is not computed again."""
        name = receipt["path"].rsplit("/", 1)[-1].rsplit(".", 1)[0]
        write_text(join(self.receipts(title), f"{name}.json"), json.dumps(receipt, sort_keys=True))

    def committed(self, title: str) -> dict[str, dict[str, Any]]:
        """Receipts of a title by the name of the segment's file, those only whose file is there with the size and hash they state."""
        fs, folder = filesystem(self.receipts(title))
        good: dict[str, dict[str, Any]] = {}
        if not fs.isdir(folder):
            return good
        for path in fs.ls(folder, detail=False):
            name = path.rsplit("/", 1)[-1].removesuffix(".json")
            receipt = read_json(join(self.receipts(title), f"{name}.json")) if not name.startswith(".") else None
            if not isinstance(receipt, dict) or not {"path", "sha256", "frames", "bytes"} <= receipt.keys():
                continue
            # The receipt may have been copied with its directory: the file is looked for in this one.
            target = join(self.segments(title), receipt["path"].rsplit("/", 1)[-1])
            if sha256_file(target) == receipt["sha256"]:
                good[name] = {**receipt, "path": target}
        return good

    def forget(self, title: str, paths: list[str]) -> None:
        """Delete encoded segments with their receipts: the receipt first, so that none is without its file."""
        for path in paths:
            name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
            remove(join(self.receipts(title), f"{name}.json"))
            remove(path)
        for folder in (self.receipts(title), self.segments(title)):
            fs, path = filesystem(folder)
            if fs.isdir(path) and not fs.ls(path, detail=False):
                fs.rmdir(path)

    # --- records and ledger -------------------------------------------------------------------------------------------------------
    def write_record(self, record: Record) -> None:
        """Write how a dub ended."""
        write_text(self.record(record["title"], record["dub"]), json.dumps(record, sort_keys=True))

    def read_record(self, title: str, dub: str) -> Record | None:
        """How a dub ended when it was run last, if it was."""
        record = read_json(self.record(title, dub))
        return record if isinstance(record, dict) and record.get("state") in ("done", "failed") else None

    def records(self) -> list[Record]:
        """All records, by title and dub."""
        fs, root = filesystem(join(self.url, "records"))
        if not fs.isdir(root):
            return []
        found = []
        paths = [path for path in fs.find(root) if path.endswith(".json")]
        for path, content in fs.cat(paths, on_error="omit").items() if paths else ():
            try:
                record = json.loads(content)
            except ValueError:
                continue
            if isinstance(record, dict) and {"title", "dub", "state"} <= record.keys() and not path.rsplit("/", 1)[-1].startswith("."):
                found.append(record)
        return sorted(found, key=lambda record: (record["title"], record["dub"]))

    def write_ledger(self, records: list[Record]) -> None:
        """Write the ledger as JSON lines and as Parquet."""
        rows = [{name: record.get(name) for name in LEDGER.names} for record in records]
        write_text(join(self.url, "ledger.jsonl"), "".join(json.dumps(row) + "\n" for row in rows))
        write_table(join(self.url, "ledger.parquet"), pa.Table.from_pylist(rows, schema=LEDGER))


def write_table(url: str, table: pa.Table) -> None:
    """Write a Parquet file whole."""
    with atomic_write(url) as path:
        pq.write_table(table, path)
