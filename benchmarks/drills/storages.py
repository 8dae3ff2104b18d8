"""Drills in which storage fails: calls that pass when they are repeated, a store that stays away, disks that
are full.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.drills import processes
from benchmarks.drills.catalogue import Setting, configure, setting
from benchmarks.drills.check import check
from benchmarks.drills.kills import calm_run
from pipelines.errors import DONE, FAILED
from tests.drills.faulty import VARIABLE, Faults

Drill = Callable[[Path], dict[str, Any]]


def shaky_store(folder: Path, titles: int = 30, rate: float = 0.15, ray: bool = True) -> dict[str, Any]:
    """Everything lies in a store that answers every few calls with a 503, a timeout or a broken connection:
    all titles are done.
    """
    _, calm = calm_run(folder, titles)
    at, began = setting(folder / "shaky", folder / "inputs", titles, "faulty://"), time.monotonic()
    count = folder / "failures"
    faults = Faults(rate=rate, count=str(count))
    assert _run(at, configure(at), faults, ray) == DONE, processes.said(at)
    failures = count.stat().st_size
    assert failures > 10 * titles, f"only {failures} calls have failed"
    return {"failures": failures, **check(at, calm, {}), "seconds": round(time.monotonic() - began)}


def store_away(folder: Path, titles: int = 10, ray: bool = True) -> dict[str, Any]:
    """A video and a folder of outputs cannot be reached, another is forbidden: these titles fail; when
    the store is back, they are done.
    """
    inputs = folder / "inputs"
    _, calm = calm_run(folder, titles)
    at, began = setting(folder / "away", inputs, titles, "faulty://"), time.monotonic()
    for name in ("away", "denied"):
        (inputs / f"{name}.mp4").write_bytes((inputs / "1.mp4").read_bytes())
    at.rows[1]["video"] = f"faulty://{inputs}/away.mp4"
    # The same video under another name, so that the outputs stay those of the calm run.
    (inputs / "denied.mp4").write_bytes((inputs / "2.mp4").read_bytes())
    at.rows[2]["video"] = f"faulty://{inputs}/denied.mp4"
    files, patience = configure(at), {"RETALK_STORAGE_PATIENCE": "3"}
    faults = Faults(rate=0.05, down=r"away\.mp4|t004\.", denied=r"denied\.mp4")
    assert _run(at, files, faults, ray, patience) == FAILED, processes.said(at)
    failed = {
        ("t001", "dub"): "the storage does not answer",
        ("t002", "dub"): "403 Forbidden",
        ("t004", "dub"): "503 Service Unavailable",
    }
    check(at, calm, failed)
    (folder / "away" / "log.jsonl").rename(folder / "away" / "first-log.jsonl")
    assert _run(at, files, Faults(), ray) == DONE, processes.said(at)
    counts = check(at, calm, {})
    again = {line["title"] for line in at.written()}
    assert again == {"t001", "t002"}, f"t004 was computed, only its output could not be written: {again}"
    return {**counts, "seconds": round(time.monotonic() - began)}


def _run(
    at: Setting, files: tuple[str, str, str], faults: Faults, ray: bool, more: dict[str, str] | None = None
) -> int:
    return processes.start(
        at,
        files,
        {VARIABLE: faults.variable(), **(more or {})},
        *(
            ()
            if ray
            else (
                "--runner",
                "local",
            )
        ),
    ).wait(1200)


@contextmanager
def small_disk(folder: Path, mebibytes: float) -> Iterator[bool]:
    """A disk of its own under a folder, where this process may mount one; else False is given, and files are
    limited instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={int(mebibytes * 1024)}k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full_outputs(folder: Path, titles: int = 12, ray: bool = True) -> dict[str, Any]:
    """The folder of the outputs lies on a disk with room for some of them: the others fail of that; with more
    room all is assembled.
    """
    quiet, calm = calm_run(folder, titles)
    sizes = [path.stat().st_size for path in quiet.outputs().values()]
    at, began = setting(folder / "full", folder / "inputs", titles), time.monotonic()
    files = configure(at)
    with small_disk(at.out, sum(sizes) * 0.5 / (1 << 20)) as mounted:
        limit = None if mounted else max(sizes) * 2 // 3
        assert _limited(at, files, limit, ray) == FAILED, processes.said(at)
        ledger = [json.loads(line) for line in (at.run / "ledger.jsonl").read_text().splitlines()]
        failed = {
            (r["title"], r["dub"]): "No space left on device" if mounted else "File too large"
            for r in ledger
            if r["state"] == "failed"
        }
        check(at, calm, failed)
        kept = {path: path.read_bytes() for path in at.out.rglob("*") if path.is_file()}
    assert 0 < len(failed) < len(at.outputs()), f"{len(failed)} of {len(at.outputs())} have failed"
    for path, content in kept.items():
        path.write_bytes(content)
    computed = len(at.written())
    assert _limited(at, files, None, ray) == DONE, processes.said(at)
    assert len(at.written()) == computed, "nothing was computed again: the segments were there"
    return {"full": len(failed), **check(at, calm, {}), "seconds": round(time.monotonic() - began)}


def _limited(at: Setting, files: tuple[str, str, str], limit: int | None, ray: bool) -> int:
    """A run whose processes can write files of so many bytes only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        running = processes.start(
            at,
            files,
            None,
            *(
                ()
                if ray
                else (
                    "--runner",
                    "local",
                )
            ),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return running.wait(1200)


def full_run_directory(folder: Path, titles: int = 12, ray: bool = True) -> dict[str, Any]:
    """The run directory's disk fills up in the middle: the run ends with a message; with room again it
    resumes, and loses nothing.
    """
    _, calm = calm_run(folder, titles)
    at, began = setting(folder / "stuffed", folder / "inputs", titles), time.monotonic()
    files = configure(at)
    with small_disk(at.run, 0.4) as mounted:
        if not mounted:
            return {"skipped": "no right to mount a small disk here"}
        blocks = os.statvfs(at.run)
        ballast = at.run / "ballast"
        ballast.write_bytes(b"x" * (blocks.f_bavail * blocks.f_frsize - 120 * 1024))
        code = _run(at, files, Faults(), ray)
        words = processes.said(at)
        assert code in (2, FAILED), words
        assert "No space left on device" in words
        assert "Traceback" not in words
        whole = {path for path in at.out.iterdir() if path.suffix != ""}
        assert not [path for path in whole if ".part" in path.name]
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(at.run)], check=True)
        assert _run(at, files, Faults(), ray) == DONE, processes.said(at)
        counts = check(at, calm, {})
    return {**counts, "seconds": round(time.monotonic() - began)}
