"""Drills on the run directory itself: damaged, foreign and exchanged state; another program's directory;
two runs in one.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.drills import processes
from benchmarks.drills.catalogue import Setting, configure, setting
from benchmarks.drills.check import check
from benchmarks.drills.kills import calm_run
from pipelines.errors import DONE, FAILED, USAGE
from pipelines.state.run_directory import read_checksummed, write_checksummed

#: Titles of the catalogue that fail in the first run, at their third segment, and so keep their receipts.
FAILING = (0, 1, 2, 4, 5, 7, 9, 10)


def damaged_state(folder: Path, ray: bool = False) -> dict[str, Any]:
    """A run of 15 titles is left half done, then everything in its directory is damaged in another way; the
    next run notices all of it.
    """
    _, calm = calm_run(folder, 15)
    at, began = setting(folder / "damaged", folder / "inputs", 15), time.monotonic()
    marks = at.folder / "marks"
    marks.mkdir()
    for number in FAILING:
        fail = {"fail": f"t{number:03d}", "segment": 2, "folder": str(marks), "times": len(FAILING)}
        at.rows[number] |= {f"trouble.{name}": value for name, value in fail.items()}
    files, more = (
        configure(at),
        ()
        if ray
        else (
            "--runner",
            "local",
        ),
    )
    assert processes.start(at, files, None, *more).wait(600) == FAILED, processes.said(at)
    assert len(list(marks.iterdir())) == len(FAILING)
    expected = _damage(at)
    at.log.rename(at.folder / "first-log.jsonl")
    (at.folder / "said.txt").unlink()
    # One output was shortened: it is no longer what the run has made.
    assert processes.start(at, files, None, *more, "--overwrite").wait(600) == DONE, processes.said(at)
    computed = Counter(line["title"] for line in at.written() if line["stage"] == "write")
    for number in FAILING:
        # The third segment, and what was damaged.
        expected.setdefault(f"t{number:03d}", Counter())["write"] += 1
    whole = Counter(title for title, _ in calm.begun["write"])
    wanted = {title: whole[title] if count["all"] else count["write"] for title, count in expected.items()}
    assert computed == wanted, f"computed {dict(computed)} instead of {wanted}"
    words = processes.said(at)
    for title in ("t000", "t001", "t002", "t004", "t005", "t007"):
        assert f"note: {title}: not trusted: receipt " in words, words
    assert words.count("shots and anchors: damaged") == 6, f"once for each video: {words}"
    assert "note: t003 [deu]: not trusted: record of dub deu: damaged" in words, words
    assert "note: t008 [deu]: not trusted: record of dub deu: of another title or dub" in words, words
    assert "note: t011: not trusted: record of dub dub: damaged" in words, words
    assert "run.json is damaged" in words, words
    (at.run / "receipts" / "t010" / "holiday.json").unlink()  # left alone: its owner is unknown
    return {"damages": 19, **check(at, calm, {}), "seconds": round(time.monotonic() - began)}


def _damage(at: Setting) -> dict[str, Counter[str]]:
    """Damage everything.

    Returns:
        By title how many output segments have to be computed again ("write"), or that all have to be ("all").
    """

    def receipt(number: int, index: int = 0) -> Path:
        return sorted((at.run / "receipts" / f"t{number:03d}").iterdir())[index]

    def segment(number: int, index: int = 0) -> Path:
        return at.run / "segments" / f"t{number:03d}" / f"{receipt(number, index).stem}.mp4"

    def record(number: int, dub: str = "dub") -> Path:
        return at.run / "records" / f"t{number:03d}" / f"{dub}.json"

    # Receipts and segments.
    receipt(0).write_bytes(receipt(0).read_bytes()[:60])
    receipt(1).write_text(re.sub(r'"frames": \d+', '"frames": 99', receipt(1).read_text()))
    content = segment(2).read_bytes()
    segment(2).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    shutil.copy(receipt(5, 1), receipt(4))
    segment(5).unlink()
    shutil.copy(receipt(7, 1), receipt(7, 0))
    shutil.copy(segment(7, 1), segment(7, 0))
    (at.run / "segments" / "t010" / ".dub.00009.000.0123.0123abcd.99-0123abcd.part.mp4").write_bytes(b"half")
    (at.run / "receipts" / "t010" / "holiday.json").write_text("{}")
    # Plans and records.
    for plan in (at.run / "plans").iterdir():
        plan.write_text(plan.read_text().replace('"shots": [[0, ', '"shots": [[1, '))
    for number, analysis in enumerate(
        sorted(path for path in (at.run / "analysis").rglob("*") if path.is_file())
    ):
        content = analysis.read_bytes()
        analysis.write_bytes(content[: len(content) * 2 // 3] if number % 2 else content[:-20] + bytes(20))
    record(3, "deu").write_bytes(record(3, "deu").read_bytes()[:-20])
    shutil.copy(record(13, "deu"), record(8, "deu"))
    record(11).write_text(record(11).read_text().replace('"done"', '"done!"'))
    other = read_checksummed(str(record(12))) or {}
    write_checksummed(str(record(12)), {**other, "key": "0" * 32})
    outputs = at.outputs()
    outputs["t013", "fra"].write_bytes(outputs["t013", "fra"].read_bytes()[:-100])
    outputs["t014", "dub"].unlink()
    # Files for people only, which are written anew.
    for name in ("ledger.jsonl", "ledger.parquet", "plan.parquet", "run.json", "lock.json"):
        (at.run / name).write_bytes(b"\x00garbage\xff")
    found = {f"t{number:03d}": Counter(write=1) for number in (0, 1, 2, 4, 5, 7)}
    return {**found, **{f"t{number:03d}": Counter(all=1) for number in (11, 12, 14)}, **_dubs_again(at)}


def _dubs_again(at: Setting) -> dict[str, Counter[str]]:
    """Output segments of the one dub of two that has lost its record or its output."""
    found = {}
    for title, dub in (("t003", "deu"), ("t008", "deu"), ("t013", "fra")):
        names = {line["name"] for line in at.written() if line["stage"] == "write" and line["title"] == title}
        found[title] = Counter(write=sum(name.startswith(f"{dub}.") for name in names))
    return found


def somebody_elses(folder: Path) -> dict[str, Any]:
    """A directory that holds another program's files under names of ours is refused, and left as it is."""
    inputs, began = folder / "inputs", time.monotonic()
    calm_run(folder, 1)
    at = setting(folder / "foreign", inputs, 1)
    (at.run / "records").mkdir()
    (at.run / "records" / "abbey-road.json").write_text('{"title": "Abbey Road", "state": "mint"}')
    (at.run / "lock.json").write_text('{"lockfileVersion": 3}')
    before = {path: path.read_bytes() for path in at.run.rglob("*") if path.is_file()}
    assert processes.start(at, configure(at), None, "--runner", "local").wait(120) == USAGE
    words = processes.said(at)
    assert "holds lock.json, records that no run of retalk has written" in words, words
    assert {path: path.read_bytes() for path in at.run.rglob("*") if path.is_file()} == before
    assert not list(at.out.iterdir())
    return {"refused": 1, "seconds": round(time.monotonic() - began)}


def two_runs(folder: Path, titles: int = 8, ray: bool = True) -> dict[str, Any]:
    """While a run is at work, four more are started on the same directory: all are refused, and the first
    ends as if it were alone.
    """
    _, calm = calm_run(folder, titles)
    at, began = setting(folder / "two", folder / "inputs", titles), time.monotonic()
    gate, more = (
        at.folder / "gate",
        ()
        if ray
        else (
            "--runner",
            "local",
        ),
    )
    files = configure(at, write={"hang": "t000", "until": str(gate)})
    first = processes.start(at, files, None, *more)
    while not at.log.exists():
        assert first.poll() is None, processes.said(at)
        time.sleep(0.05)
    codes = [
        running.wait(120)
        for running in [processes.start(at, files, None, "--runner", "local") for _ in range(4)]
    ]
    lock = json.loads((at.run / "lock.json").read_text())
    assert codes == [USAGE] * 4, processes.said(at)
    assert processes.said(at).count(f"another run is at work here (process {lock['pid']} on") == 4, (
        processes.said(at)
    )
    gate.touch()
    assert first.wait(600) == DONE, processes.said(at)
    return {"refused": 4, **check(at, calm, {}), "seconds": round(time.monotonic() - began)}
