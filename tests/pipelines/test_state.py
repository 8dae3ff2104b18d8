"""The run directory on local and memory file systems: receipts are held against their files, damaged state is not trusted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from operators.media.storage import exists, filesystem, join
from pipelines.state import RunDirectory, content_key, read_json, write_text
from pipelines.titles import slug


@pytest.fixture(params=["local", "memory"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    return RunDirectory(str(tmp_path / "run") if request.param == "local" else f"memory://{tmp_path.name}")


def put(run: RunDirectory, name: str, content: bytes, **changes: object) -> str:
    """A segment with its receipt."""
    path = join(run.segments("t/1"), f"{name}.mp4")
    fs, inner = filesystem(path)
    fs.makedirs(fs._parent(inner), exist_ok=True)
    fs.pipe_file(inner, content)
    receipt = {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "frames": 3, "bytes": len(content)}
    run.write_receipt("t/1", {**receipt, **changes})
    return path


def test_committed_are_receipts_whose_file_is_whole(run: RunDirectory) -> None:
    assert run.committed("t/1") == {}
    good, changed, gone = (put(run, name, name.encode()) for name in ("good", "changed", "gone"))
    fs, inner = filesystem(changed)
    fs.pipe_file(inner, b"chANGED")
    fs.rm_file(filesystem(gone)[1])
    write_text(join(run.receipts("t/1"), "damaged.json"), "{")
    write_text(join(run.receipts("t/1"), "foreign.json"), '{"hello": 1}')
    committed = run.committed("t/1")
    assert list(committed) == ["good"]
    assert (committed["good"]["frames"], committed["good"]["path"]) == (3, good)


def test_a_moved_run_directory_still_serves(tmp_path: Path) -> None:
    put(RunDirectory(str(tmp_path / "before")), "x", b"x")
    (tmp_path / "before").rename(tmp_path / "after")
    committed = RunDirectory(str(tmp_path / "after")).committed("t/1")
    assert Path(committed["x"]["path"]).read_bytes() == b"x"


def test_forget_takes_file_and_receipt_and_empty_folders(run: RunDirectory) -> None:
    first, second = put(run, "a", b"a"), put(run, "b", b"b")
    run.forget("t/1", [first])
    assert (exists(first), list(run.committed("t/1"))) == (False, ["b"])
    run.forget("t/1", [second, second])
    assert run.committed("t/1") == {}
    assert not exists(run.segments("t/1"))


def test_records_and_ledger(run: RunDirectory) -> None:
    assert run.records() == []
    for title, dub, state in (("b", "x", "done"), ("a", "y", "failed"), ("a", "x", "done")):
        run.write_record({"title": title, "dub": dub, "state": state, "error": "é", "seconds": 1.5, "notes": ["n"], "traceback": "t"})
    assert [(r["title"], r["dub"]) for r in run.records()] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert (run.read_record("a", "y") or {})["state"] == "failed"
    assert run.read_record("a", "z") is None
    write_text(run.record("a", "y"), "{")
    assert run.read_record("a", "y") is None
    assert len(run.records()) == 2
    run.write_ledger(run.records())
    with fsspec.open(join(run.url, "ledger.jsonl")) as file:
        lines = [json.loads(line) for line in file.read().decode().splitlines()]
    with fsspec.open(join(run.url, "ledger.parquet")) as file:
        table = pq.read_table(file).to_pylist()
    assert lines == table
    assert [(row["title"], row["state"], row["error"], row["notes"]) for row in table] == [
        ("a", "done", "é", ["n"]),
        ("b", "done", "é", ["n"]),
    ]


def test_keys_and_slugs() -> None:
    assert content_key(1, {"a": 2, "b": 3}) == content_key(1, {"b": 3, "a": 2})
    assert content_key(1, 2) != content_key(12)
    assert slug("episode-01.de_v2") == "episode-01.de_v2"
    names = {slug(text) for text in ("a/b", "a_b", "a:b", "A/b", "../x", ".x", "é" * 300, "é" * 301)}
    assert len(names) == 8
    assert all("/" not in name and not name.startswith(".") and len(name) < 100 for name in names)
    assert read_json("/nowhere/at/all.json") is None
