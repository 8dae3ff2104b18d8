"""The run directory: plans, receipts, records of finished dubs, the ledger. Any fsspec URL; every file
appears whole or not at all.

run.json                        what runs here; by it the directory is known to be ours (`pipelines.state.ownership`)
titles.json                     which titles and dubs the newest manifest lists (`pipelines.state.listed`)
plan.parquet                    one row per output segment that was planned
plans/KEY.json                  shots and anchors of a title, so that a later run does not look for them again
analysis/VIDEO/STAGE-KEY.arrow  what a stage computed once per segment (`pipelines.state.analysis_cache`)
segments/TITLE/NAME.mp4         encoded segments, until their dub is assembled
receipts/TITLE/NAME.json        one small file per committed segment; NAME carries the hash of all that decided its content
records/TITLE/DUB.json          one per dub that ended: done or failed, with what it was made of
traces/TITLE/DUB.json           curves and shots of one that is done, for the review page
earlier/TITLE/DUB.*             output and record of one that `--redo` computes again (`pipelines.state.earlier`)
made/TITLE/DUB.json             which outputs are this run's own and may be replaced (`pipelines.state.outputs`)
ledger.jsonl, ledger.parquet    the records in one table, written when a run ends
lock.json                       who is running
runs/START-ID.json              one per invocation: how far it is, its stages, the nodes it had (see `pipelines.monitoring.run_log`)
forecast.json, report/          what `retalk plan -o` and `retalk report` have written

Files that are read again later carry a checksum of their content. A file that is damaged, or belongs to
another title, is not trusted: its work is done again, with a note for the user.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from operators.storage.files import atomic_write, exists, filesystem, join, local_path, normalized, sweep
from operators.storage.redact import redact_all
from pipelines.state.content_keys import content_key
from pipelines.state.ledger import LEDGER
from retalk_models.local_files import sha256_of

Record = dict[str, Any]
#: Beginning of a note on state that was found and not used.
REJECTED_STATE = "not trusted: "
#: Records that are written to the ledger at a time; a row group of its Parquet file.
LEDGER_GROUP = 1024


def write_text(url: str, text: str) -> None:
    """Write a small file whole."""
    with atomic_write(url) as path:
        path.write_text(text, encoding="utf-8")


def read_json(url: str) -> Any | None:
    """A JSON file's content; None where there is no such file or it is damaged (damaged state is not trusted,
    the work is done again).
    """
    fs, path = filesystem(url)
    try:
        content = fs.cat_file(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return parse_json(content)


def parse_json(content: bytes) -> Any | None:
    """Return the content of a JSON file, None if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def write_checksummed(url: str, data: Mapping[str, Any]) -> None:
    """Write a JSON object whole, with a hash of its content under ``checksum``."""
    write_text(url, json.dumps({**data, "checksum": content_key(dict(data))}, sort_keys=True))


def verify_checksum(content: Any) -> dict[str, Any] | None:
    """The object that `write_checksummed` was given; None if this is not what it wrote."""
    if not isinstance(content, dict) or "checksum" not in content:
        return None
    data = {name: value for name, value in content.items() if name != "checksum"}
    return data if content_key(data) == content["checksum"] else None


def read_checksummed(url: str) -> dict[str, Any] | None:
    """Return the content of a file with a checksum; None where there is none or it is damaged."""
    return verify_checksum(read_json(url))


def sha256_file(url: str) -> str | None:
    """SHA-256 of a file's content, None where it is missing."""
    fs, path = filesystem(url)
    try:
        with fs.open(path, "rb") as file:
            return sha256_of(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove(url: str, recursive: bool = False) -> None:
    """Delete a file or folder that may be gone already."""
    fs, path = filesystem(url)
    try:
        fs.rm(path, recursive=recursive)
    except FileNotFoundError:
        return


class OutputSegmentId(NamedTuple):
    """An output segment of a title, of which there is one encoded file and one receipt.

    Attributes:
        dub: its name in the title.
        segment: number of the segment.
        output_segment: number in the segment and dub.
        key: content key; a file that was made of other inputs has another.
    """

    dub: str
    segment: int
    output_segment: int
    key: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> OutputSegmentId:
        """The one that a row or a receipt is of."""
        return cls(*(values[name] for name in cls._fields))

    @property
    def name(self) -> str:
        """Name of its files, without suffix."""
        return f"{slug(self.dub)}.{self.segment:05d}.{self.output_segment:03d}.{self.key}"

    @property
    def file(self) -> str:
        """Name of its encoded file in the title's folder of segments."""
        return f"{self.name}.mp4"


class RunDirectory:
    """Names and files of one run directory. Plain data (a URL): can be sent to any process."""

    def __init__(self, url: str) -> None:
        local = local_path(url)
        self.url = normalized(str(local.absolute())) if local is not None else url.rstrip("/")

    # --- names ----------------------------------------------------------------------------------------------
    def segments(self, title: str) -> str:
        """Folder of a title's encoded segments."""
        return join(self.url, "segments", slug(title))

    def receipts(self, title: str) -> str:
        """Folder of a title's receipts."""
        return join(self.url, "receipts", slug(title))

    def record(self, title: str, dub: str) -> str:
        """File of a dub's record."""
        return join(self.url, "records", slug(title), f"{slug(dub)}.json")

    def trace(self, title: str, dub: str) -> str:
        """File of a dub's trace."""
        return join(self.url, "traces", slug(title), f"{slug(dub)}.json")

    def relative(self, url: str) -> str:
        """A path below the run directory without the directory, so that it holds where the directory is
        moved; others as they are.
        """
        return url.removeprefix(f"{self.url}/")

    # --- receipts -------------------------------------------------------------------------------------------
    def receipt(self, title: str, which: OutputSegmentId) -> str:
        """File of an output segment's receipt."""
        return join(self.receipts(title), f"{which.name}.json")

    def write_receipt(self, receipt: Mapping[str, Any]) -> None:
        """Commit a segment: from now on it is not computed again."""
        url = self.receipt(receipt["title"], OutputSegmentId.of(receipt))
        write_checksummed(url, redact_all(dict(receipt)))

    def read_receipt(self, title: str, which: OutputSegmentId) -> dict[str, Any] | None:
        """An output segment's receipt; None where there is none, it is damaged or another's."""
        receipt = read_checksummed(self.receipt(title, which))
        return None if _distrust(receipt, title, which.name) else receipt

    def committed(
        self, title: str, rejected_state: list[str] | None = None
    ) -> dict[OutputSegmentId, dict[str, Any]]:
        """Receipts of a title, those only whose file is there with the hash they state.

        Args:
            title: its id.
            rejected_state: descriptions of state that was found and is not used are added here.
        """
        fs, folder = filesystem(self.receipts(title))
        good: dict[OutputSegmentId, dict[str, Any]] = {}
        if not fs.isdir(folder):
            return good
        for path in sorted(fs.ls(folder, detail=False)):
            name = path.rsplit("/", 1)[-1].removesuffix(".json")
            if name.startswith("."):
                continue
            receipt = read_checksummed(join(self.receipts(title), f"{name}.json"))
            # The receipt may have been copied with its directory: the file is looked for in this one.
            target = join(self.segments(title), f"{name}.mp4")
            if problem := _distrust(receipt, title, name) or _differs(receipt, target):
                if rejected_state is not None:
                    rejected_state.append(f"receipt {name}: {problem}")
                continue
            assert receipt is not None
            good[OutputSegmentId.of(receipt)] = {**receipt, "path": target}
        return good

    def forget(self, title: str, which: Iterable[OutputSegmentId]) -> None:
        """Delete encoded segments with their receipts: the receipt first, so that none is without its file."""
        for one in which:
            remove(self.receipt(title, one))
            remove(join(self.segments(title), one.file))

    def tidy(self) -> list[str]:
        """Remove temporary files of killed writers, and empty folders of titles.

        Only while nobody else works here: a worker that has just made such a folder is about to write into
            it.

        Returns:
            URLs of the files of killed writers.
        """
        left = sweep(self.url)
        for kind in ("receipts", "segments"):
            local = local_path(join(self.url, kind))
            if local is not None:
                remove_empty(local)
                continue
            fs, root = filesystem(join(self.url, kind))
            for folder in fs.ls(root, detail=False) if fs.isdir(root) else []:
                if fs.isdir(folder) and not fs.ls(folder, detail=False):
                    fs.rmdir(folder)
        return left

    # --- records and ledger ---------------------------------------------------------------------------------
    def write_record(self, record: Record) -> None:
        """Write the record of a dub that has ended."""
        write_checksummed(self.record(record["title"], record["dub"]), record)

    def read_record(self, title: str, dub: str, rejected_state: list[str] | None = None) -> Record | None:
        """Return the record of a dub's last run, if there is one. A record that is there and not used is noted in
        `rejected_state`.
        """
        content = read_json(self.record(title, dub))
        record = verify_checksum(content)
        if record is not None and _is_record(record) and (record["title"], record["dub"]) == (title, dub):
            return record
        if rejected_state is not None and (content is not None or exists(self.record(title, dub))):
            rejected_state.append(
                f"record of dub {dub}: {'of another title or dub' if record else 'damaged'}"
            )
        return None

    # --- traces ---------------------------------------------------------------------------------------------
    def write_trace(self, record: Record, trace: Mapping[str, Any]) -> None:
        """Write the trace (`operators.evaluation.trace`) of a dub whose record this is."""
        content = json.dumps({**trace, "key": record["key"]}, separators=(",", ":"))
        write_text(self.trace(record["title"], record["dub"]), content)

    def read_trace(self, record: Record) -> dict[str, Any] | None:
        """Return the trace of a dub; None where there is none, it is damaged, or it is of another output than the
        record's.
        """
        trace = read_json(self.trace(record["title"], record["dub"]))
        if not isinstance(trace, dict) or trace.pop("key", None) != record.get("key"):
            return None
        return trace

    def records(self) -> list[Record]:
        """All records, by title and dub; damaged ones and those that lie in another's place are left out."""
        fs, root = filesystem(join(self.url, "records"))
        if not fs.isdir(root):
            return []
        found = []
        paths = [
            path
            for path in fs.find(root)
            if path.endswith(".json") and not path.rsplit("/", 1)[-1].startswith(".")
        ]
        for path, answer in fs.cat(paths, on_error="return").items() if paths else ():
            if isinstance(answer, FileNotFoundError):
                continue
            content = fs.cat_file(path) if isinstance(answer, Exception) else answer
            record = verify_checksum(parse_json(content))
            if (
                record is not None
                and _is_record(record)
                and path.endswith(f"/{slug(record['title'])}/{slug(record['dub'])}.json")
            ):
                found.append(record)
        return sorted(found, key=lambda record: (record["title"], record["dub"]))

    def write_ledger(self, records: Sequence[Record]) -> None:
        """Write the ledger as JSON lines and as Parquet, `LEDGER_GROUP` records at a time."""
        with (
            atomic_write(join(self.url, "ledger.jsonl")) as lines,
            atomic_write(join(self.url, "ledger.parquet")) as table,
            lines.open("w", encoding="utf-8") as text,
            pq.ParquetWriter(table, LEDGER) as writer,
        ):
            for start in range(0, max(1, len(records)), LEDGER_GROUP):
                group = records[start : start + LEDGER_GROUP]
                rows = [{name: record.get(name) for name in LEDGER.names} for record in group]
                text.writelines(json.dumps(row) + "\n" for row in rows)
                writer.write_table(pa.Table.from_pylist(rows, schema=LEDGER))


#: What a receipt says, with types.
RECEIPT_FIELDS = {
    **{"title": str, "dub": str, "segment": int, "output_segment": int, "key": str},
    **{"path": str, "sha256": str, "frames": int, "bytes": int},
}


def _distrust(receipt: dict[str, Any] | None, title: str, name: str) -> str:
    """Return why a receipt with this file name is not used; empty if it is."""
    if receipt is None:
        return "damaged"
    if not all(isinstance(receipt.get(key), kind) for key, kind in RECEIPT_FIELDS.items()):
        return "not a receipt"
    own = OutputSegmentId.of(receipt).name
    if receipt["title"] != title or own != name:
        return f"of another segment ({own} of {receipt['title']})"
    return ""


def _differs(receipt: dict[str, Any] | None, target: str) -> str:
    """Return how a segment's file differs from its receipt; empty if it does not."""
    digest = sha256_file(target)
    if receipt is None or digest == receipt["sha256"]:
        return ""
    return "its file is gone" if digest is None else "its file was changed"


def _is_record(record: dict[str, Any]) -> bool:
    return all(isinstance(record.get(name), str) for name in ("title", "dub", "state")) and record[
        "state"
    ] in ("done", "failed")


def remove_empty(folder: Path) -> None:
    """Remove the empty folders in a folder of this machine; there may be as many as titles, so the kernel
    says which are empty.
    """
    for entry in os.scandir(folder) if folder.is_dir() else ():
        try:
            os.rmdir(entry.path)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise


def write_table(url: str, table: pa.Table) -> None:
    """Write a Parquet file whole."""
    with atomic_write(url) as path:
        pq.write_table(table, path)


def slug(text: str) -> str:
    """A file name for an identifier: itself where it is plain, else made plain and told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:80]
    if plain == text and not text.startswith("."):
        return text
    return f"{plain.lstrip('.')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
