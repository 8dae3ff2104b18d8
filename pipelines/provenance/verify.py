"""Provenance of a file: a list of checks, each of which returns a `Finding`, and the ledger row that the findings lead to.

To add a check, write a function of a `Subject` that returns a `Finding` and put it into `CHECKS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from operators.storage.files import filesystem, is_url, join, local_copy, suffix
from operators.storage.redact import redact
from operators.storage.retry import patience
from operators.watermark.learned import TAG_BITS, tag_of
from pipelines.errors import UsageError
from pipelines.provenance.c2pa_check import MIME, c2pa_check
from pipelines.provenance.findings import Finding, Subject, Trust, printable
from pipelines.provenance.watermark_check import watermark_check
from pipelines.state.run_directory import Record, RunDirectory

#: Checks of `retalk verify`, in the order in which they are shown.
CHECKS: list[Callable[[Subject], Finding]] = [c2pa_check, watermark_check]
#: What a file's findings come to. ``marked``: no valid signature, but another check has recognised it.
State = Literal["trusted", "untrusted", "marked", "none", "empty", "bad"]
#: The worst first.
ORDER: tuple[State, ...] = ("bad", "empty", "none", "marked", "untrusted", "trusted")
#: Seconds for which a storage or web server that does not answer is asked again: somebody is waiting.
SECONDS = 8.0
#: Columns of the ledger's row that are told.
ROW_COLUMNS = ("title", "dub", "output", "finished", "watermark_speech", "watermark_picture")
#: Folders of a run directory that hold no outputs.
WORK = ("segments", "earlier", "report", "analysis", "plans")


@dataclass(frozen=True)
class Verification:
    """Findings on one file.

    Attributes:
        file: as it was given, without the secrets of URLs.
        findings: one of each check.
        row: the ledger's row of the dub, where a ledger was given and has one.
    """

    file: str
    findings: list[Finding]
    row: Record | None = None

    @property
    def state(self) -> State:
        """The findings in one word."""
        states = {finding.state for finding in self.findings}
        if states & {"tampered", "invalid", "unreadable"}:
            return "bad"
        if "empty" in states:
            return "empty"
        if "trusted" in states:
            return "trusted"
        if "untrusted" in states:
            return "untrusted"
        return "marked" if "found" in states else "none"


@dataclass
class Ledger:
    """Rows of run directories, by the ids that a file may carry.

    Attributes:
        rows: by id.
    """

    rows: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def read(cls, directories: Sequence[str]) -> Ledger:
        """Read the records of run directories.

        Raises:
            UsageError: a folder has none.
        """
        ledger = cls()
        for directory in directories:
            records = RunDirectory(directory).records()
            if not records:
                raise UsageError(
                    f"{directory}: no records of dubs there; give the run directory of `retalk run`"
                )
            for record in records:
                for name in ("manifest_id", "watermark_id"):
                    if record.get(name):
                        ledger.rows[str(record[name])] = record
        return ledger

    def row(self, findings: Sequence[Finding]) -> Record | None:
        """Return the row of the dub that findings name, None if there is none.

        A manifest of an unknown signer, or of a file that was changed, may name what it likes: only a trusted one and a
        mark that was found count.
        """
        named = (one for finding in findings if finding.state in ("trusted", "found") for one in finding.ids)
        return next((row for one in named if (row := self._named(one)) is not None), None)

    def _named(self, one: str) -> Record | None:
        """The row of an id; of the 16 bits that AudioSeal carries, if no two rows share them."""
        if one in self.rows or len(one) != TAG_BITS // 4:
            return self.rows.get(one)
        found = [
            row
            for known, row in self.rows.items()
            if known == row.get("watermark_id") and tag_of(known) == one
        ]
        return found[0] if len(found) == 1 else None


def verify_file(url: str, trust: Trust, ledger: Ledger | None = None) -> Verification:
    """Run all checks on one file.

    Args:
        url: path or fsspec URL; a remote file is copied to a temporary one.
        trust: whom to trust, and what may be fetched.
        ledger: rows to look for the dub in.

    Raises:
        OSError, MediaError: it cannot be read.
    """
    with patience(SECONDS), local_copy(url) as path:
        if not path.stat().st_size:
            return Verification(redact(url), [Finding("file", "empty", "empty: it has no bytes")])
        subject = Subject(url=url, path=Path(path), trust=trust)
        findings = [check(subject) for check in CHECKS]
    return Verification(redact(url), findings, ledger.row(findings) if ledger else None)


def files_of(url: str) -> Iterator[str]:
    """The media files of a folder and of those below it, in order, of a run directory its outputs only; a file's own name.

    Raises:
        UsageError: there is no such file or folder, or the folder holds no media files.
    """
    fs, path = filesystem(url)
    try:
        with patience(SECONDS):
            kind = fs.info(path)["type"]
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise UsageError(f"{redact(url)}: {_absence(url, problem)}") from problem
    if kind not in ("file", "directory"):
        raise UsageError(
            f"{url}: is no regular file (a device, pipe or socket); give a file, a folder or a URL"
        )
    if kind == "file":
        yield url
        return
    own = WORK if fs.isfile(f"{path}/run.json") else ()
    # A pipe or a device would never end.
    names = (str(name) for name in fs.find(path) if is_url(url) or Path(name).is_file())
    found = sorted(name for name in names if suffix(name) in MIME and not _passed(name[len(path) :], own))
    if not found:
        raise UsageError(
            f"{url}: holds no media files ({', '.join(sorted(MIME))}); pipes and devices do not count"
        )
    for name in found:
        yield join(url, name[len(path) :]) if is_url(url) else name


def _absence(url: str, problem: OSError) -> str:
    """Say why there is nothing at an address."""
    if not is_url(url):
        return "no such file or folder; check the path"
    said = printable(redact(str(problem.strerror or problem)))
    return f"nothing is there ({said}); check the address"


def _passed(relative: str, own: Sequence[str]) -> bool:
    parts = relative.strip("/").split("/")
    return parts[0] in own or any(part.startswith(".") for part in parts)


def as_json(verification: Verification) -> dict[str, Any]:
    """A verification as plain JSON."""
    row = verification.row
    return {
        "file": verification.file,
        "state": verification.state,
        "findings": [dataclasses.asdict(finding) for finding in verification.findings],
        "ledger": None if row is None else {key: row.get(key) for key in ROW_COLUMNS},
    }
